"""Tables of addresses on a terminal and in a pipe."""

from neurolens.cli.grids import add_row, open_console, start_grid

LONG = "features." + "a_module_with_a_long_name." * 8 + "conv2d"


def print_one(address):
    grid = start_grid("operation", "size", n_right=1)
    add_row(grid, address, "4 kB")
    open_console().print(grid)


def test_a_pipe_gets_each_address_whole_and_in_one_line(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_one(LONG)
    assert any(LONG in line and "4 kB" in line for line in capsys.readouterr().out.splitlines())


def test_a_terminal_gets_it_whole_in_several_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    print_one(LONG)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join(line.split("│")[1].strip() for line in lines if line.startswith("│")) == LONG


def test_the_name_of_a_result_is_no_markup(capsys):
    print_one("topk[values]")
    assert "topk[values]" in capsys.readouterr().out
