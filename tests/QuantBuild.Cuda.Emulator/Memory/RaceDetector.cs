namespace QuantBuild.Cuda.Emulator;

/// <summary>
/// Finds two warps that touch the same byte of shared memory, one of them writing, with no barrier between: each warp keeps a clock of every warp, a barrier joins the clocks of those that meet
/// there, and an access is ordered after an earlier one if its warp has seen the earlier one's clock.
/// </summary>
internal sealed class RaceDetector(int bytes, int warps)
{
    private readonly uint[,] _seen = new uint[warps, warps];
    private readonly (int Warp, uint Clock)[] _writes = new (int, uint)[bytes];
    private readonly uint[] _reads = new uint[bytes * warps];
    private uint _start;

    public void Reset()
    {
        // All clocks begin above those of the block before, which every warp has seen.
        uint start = _start + 1;
        for (int w = 0; w < warps; w++)
        {
            for (int other = 0; other < warps; other++) _seen[w, other] = w == other ? start + 1 : start;
        }
        _start = start + 1;
    }

    public void Join(IEnumerable<int> met)
    {
        int[] those = [.. met];
        for (int other = 0; other < warps; other++)
        {
            uint latest = those.Max(w => _seen[w, other]);
            foreach (int w in those) _seen[w, other] = latest;
        }
        foreach (int w in those) _start = Math.Max(_start, ++_seen[w, w]);
    }

    /// <summary>The warp that this access races with, and whether that one wrote; −1 for none.</summary>
    public (int Warp, bool Wrote) Touch(int warp, int at, int count, bool write)
    {
        for (int i = at; i < at + count; i++)
        {
            (int writer, uint clock) = _writes[i];
            if (writer != warp && clock > _seen[warp, writer]) return (writer, true);
            if (!write)
            {
                _reads[(i * warps) + warp] = _seen[warp, warp];
                continue;
            }
            for (int reader = 0; reader < warps; reader++)
            {
                if (reader != warp && _reads[(i * warps) + reader] > _seen[warp, reader]) return (reader, false);
            }
            _writes[i] = (warp, _seen[warp, warp]);
        }
        return (-1, false);
    }
}
