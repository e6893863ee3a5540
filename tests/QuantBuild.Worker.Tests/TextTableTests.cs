namespace QuantBuild.Worker.Tests;

public sealed class TextTableTests
{
    [Fact]
    public void Columns_are_as_wide_as_their_longest_cell_and_figures_stand_to_the_right()
    {
        string table = TextTable.Of(["name", ">bytes", "format"], [["a", "1,234,567", "x"], ["longer", "8", ""]]);
        Assert.Equal(["name        bytes  format", "a       1,234,567  x", "longer          8"], table.Split(Environment.NewLine));
    }

    [Fact]
    public void A_list_goes_on_in_its_last_column_and_breaks_no_word()
    {
        string path = "/a/path/that/is/longer/than/the/room";
        string list = TextTable.List([["OK", "disk", $"70 GB free at {path} and more"], ["warning", "torch", "none"]], width: 40);
        Assert.Equal(
            ["OK       disk   70 GB free at", "                " + path, "                and more", "warning  torch  none"], list.Split(Environment.NewLine));
        Assert.Equal(2, TextTable.List([["a", new string('x', 300) + " y"], ["b", ""]], width: 10_000).Split(Environment.NewLine).Length);
    }
}
