using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Cuda.Emulator;

internal enum WarpState { Running, Blocked, Done }

internal enum GroupState { Ready, AtBarrier, AwaitingLanes }

/// <summary>Lanes of a warp that went another way than those that run. <paramref name="Need"/> are the lanes that a <c>.sync</c> instruction waits for, or the barrier's number.</summary>
internal record struct LaneGroup(int Pc, uint Lanes, GroupState State, uint Need);

/// <summary>
/// 32 lanes and their registers. Lanes that diverge form groups; the group with the smallest program counter runs, so that groups meet again where their ways do. An instruction that
/// needs all lanes named in its member mask waits for them, as lanes with program counters of their own do since Volta.
/// </summary>
internal sealed unsafe class Warp : IDisposable
{
    private readonly List<LaneGroup> _others = [];
    private readonly uint* _masks32;
    private readonly ulong* _masks64;
    private uint _masksFor;
    private long _laneInstructions;
    private Instruction? _current;

    public Warp(Block block, int index)
    {
        (Block, Index) = (block, index);
        Registers = (byte*)NativeMemory.AlignedAlloc((nuint)block.Program.RegisterBytes, 64);
        NativeMemory.Clear(Registers, (nuint)block.Program.RegisterBytes);
        Local = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(1, block.Program.LocalBytes * Lanes.Count), 64);
        byte* scratch = (byte*)NativeMemory.AlignedAlloc(256 + 128 + 256, 64);
        Addresses = (ulong*)scratch;
        _masks32 = (uint*)(scratch + 256);
        _masks64 = (ulong*)(scratch + 384);
        _masksFor = 0;
        NativeMemory.Clear(_masks32, 128 + 256);
    }

    public Block Block { get; }

    public int Index { get; }

    public byte* Registers { get; }

    /// <summary>Lane l's local memory starts at l times the program's <see cref="KernelProgram.LocalBytes"/>.</summary>
    public byte* Local { get; }

    /// <summary>Room for the addresses of one access.</summary>
    public ulong* Addresses { get; }

    /// <summary>The lanes that run.</summary>
    public uint Active { get; set; }

    /// <summary>The lanes that have not exited.</summary>
    public uint Alive { get; private set; }

    /// <summary>The instruction after the one that runs.</summary>
    public int Pc { get; set; }

    /// <summary>The smallest program counter of another group that may run.</summary>
    private int _meet;

    public WarpState State { get; private set; }

    /// <summary>Instructions executed since this was asked last, times the lanes that executed them.</summary>
    public long TakeLaneInstructions()
    {
        long count = _laneInstructions;
        _laneInstructions = 0;
        return count;
    }

    /// <summary>Copies from global to shared memory that <c>cp.async</c> began and nothing has waited for; −1 ends a group.</summary>
    public Queue<AsyncCopy> Copies { get; } = new();

    public int CopyGroups { get; set; }

    /// <summary>Whether the kernel before this one may still run, as far as this warp knows.</summary>
    public bool IsAhead { get; set; }

    public void Start(uint lanes)
    {
        _others.Clear();
        Copies.Clear();
        CopyGroups = 0;
        IsAhead = Block.Shape.Overlaps;
        (Active, Alive, Pc, _meet, State) = (lanes, lanes, 0, int.MaxValue, WarpState.Running);
    }

    /// <summary>All ones in each active lane of 32 or 64 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T* Masks<T>() where T : unmanaged
    {
        if (_masksFor != Active) SetMasks();
        return sizeof(T) == 8 ? (T*)_masks64 : (T*)_masks32;
    }

    private void SetMasks()
    {
        _masksFor = Active;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            bool on = ((_masksFor >> lane) & 1) != 0;
            _masks32[lane] = on ? uint.MaxValue : 0;
            _masks64[lane] = on ? ulong.MaxValue : 0;
        }
    }

    /// <summary>Runs until the warp waits at a barrier or has exited.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Run(ref long budget)
    {
        Instruction[] code = Block.Program.Code;
        long executed = 0;
        try
        {
            if (State == WarpState.Blocked && !Continue()) return;
            State = WarpState.Running;
            while (true)
            {
                if (Pc >= _meet)
                {
                    Meet();
                    continue;
                }
                Instruction instruction = code[Pc++];
                _current = instruction;
                executed += BitOperations.PopCount(Active);
                if (instruction.Guard < 0)
                {
                    instruction.Execute(this, instruction);
                    if (Active == 0 && !Continue()) return;
                }
                else
                {
                    uint before = Active, lanes = before & (*(uint*)(Registers + instruction.Guard) ^ (instruction.GuardNegated ? uint.MaxValue : 0));
                    if (lanes == 0) continue;
                    Active = lanes;
                    instruction.Execute(this, instruction);
                    Active = before;
                }
                if ((executed & 0xFFFF) < 32 && executed > budget)
                    throw Fault(CuResult.LaunchTimeout, "the kernel runs without an end in sight");
            }
        }
        finally
        {
            _laneInstructions += executed;
            budget -= executed;
        }
    }

    /// <summary>Another group is where the running one is, or behind it.</summary>
    private void Meet()
    {
        int index = Smallest();
        LaneGroup group = _others[index];
        _others.RemoveAt(index);
        if (group.Pc == Pc)
        {
            Active |= group.Lanes;
        }
        else
        {
            _others.Add(new(Pc, Active, GroupState.Ready, 0));
            (Pc, Active) = (group.Pc, group.Lanes);
        }
        SetMeet();
    }

    private int Smallest()
    {
        int best = -1;
        for (int i = 0; i < _others.Count; i++)
        {
            if (_others[i].State == GroupState.Ready && (best < 0 || _others[i].Pc < _others[best].Pc)) best = i;
        }
        return best;
    }

    private void SetMeet()
    {
        int best = Smallest();
        _meet = best < 0 ? int.MaxValue : _others[best].Pc;
    }

    /// <summary>No lane runs: takes the next group that may. False where none may; <see cref="State"/> then says why.</summary>
    private bool Continue()
    {
        int best = Smallest();
        if (best < 0)
        {
            for (int i = 0; i < _others.Count; i++)
            {
                LaneGroup waiting = _others[i];
                if (waiting.State == GroupState.AwaitingLanes && (waiting.Need & Alive & ~waiting.Lanes) == 0) _others[i] = waiting with { State = GroupState.Ready };
            }
            best = Smallest();
        }
        if (best < 0)
        {
            State = _others.Count == 0 ? WarpState.Done : WarpState.Blocked;
            return false;
        }
        LaneGroup group = _others[best];
        _others.RemoveAt(best);
        (Pc, Active) = (group.Pc, group.Lanes);
        SetMeet();
        return true;
    }

    /// <summary>Sends <paramref name="lanes"/>, some of the active ones, to <paramref name="pc"/>.</summary>
    public void Diverge(uint lanes, int pc)
    {
        _others.Add(new(pc, lanes, GroupState.Ready, 0));
        Active &= ~lanes;
        if (pc < _meet) _meet = pc;
    }

    public void Exit()
    {
        Alive &= ~Active;
        Active = 0;
    }

    /// <summary>The active lanes wait at a barrier.</summary>
    public void WaitAt(int barrier)
    {
        _others.Add(new(Pc, Active, GroupState.AtBarrier, (uint)barrier));
        Active = 0;
    }

    public int WaitingAt(int barrier)
    {
        int lanes = 0;
        foreach (LaneGroup group in _others)
        {
            if (group.State == GroupState.AtBarrier && group.Need == barrier) lanes += BitOperations.PopCount(group.Lanes);
        }
        return lanes;
    }

    public void Release(int barrier)
    {
        for (int i = 0; i < _others.Count; i++)
        {
            if (_others[i].State == GroupState.AtBarrier && _others[i].Need == barrier) _others[i] = _others[i] with { State = GroupState.Ready };
        }
    }

    /// <summary>Where the blocked lanes wait, for a message about a deadlock.</summary>
    public string Waiting() => string.Join("; ", _others.Select(g => $"lanes 0x{g.Lanes:x8} of warp {Index} at "
        + (g.State == GroupState.AtBarrier ? $"barrier {g.Need} ('{Block.Program.Code[g.Pc - 1].Text}')" : $"'{Block.Program.Code[g.Pc].Text}', which needs lanes 0x{g.Need:x8}")));

    /// <summary>
    /// Whether all lanes in <paramref name="members"/> that still live are here. If not, the active ones wait, and the instruction runs again when the others have come: the caller returns at once.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Gathered(uint members) => (members & Alive & ~Active) == 0 || Gather(members);

    private bool Gather(uint members)
    {
        int here = Pc - 1;
        for (int i = _others.Count - 1; i >= 0; i--)
        {
            if (_others[i].State != GroupState.AwaitingLanes || _others[i].Pc != here) continue;
            Active |= _others[i].Lanes;
            _others.RemoveAt(i);
        }
        if ((members & Alive & ~Active) == 0) return true;
        _others.Add(new(here, Active, GroupState.AwaitingLanes, members));
        Active = 0;
        return false;
    }

    public KernelFault Fault(CuResult result, string what, int lane = -1)
    {
        (int x, int y, int z) = Block.Index;
        string where = lane < 0 ? $"warp {Index}" : $"thread {Block.ThreadName(Index, lane)}";
        return new(result, $"{Block.Program.Name}, block ({x}, {y}, {z}), {where}: {what}: {_current?.Text} (line {_current?.Line})");
    }

    public string Describe(string what, int lane) => Fault(CuResult.Success, what, lane).Message;

    public void Dispose()
    {
        NativeMemory.AlignedFree(Registers);
        NativeMemory.AlignedFree(Local);
        NativeMemory.AlignedFree(Addresses);
    }
}

/// <summary>One lane's <c>cp.async</c>: host addresses; <see cref="Bytes"/> is what is written, of which <see cref="Source"/> are read and the rest zeros. Negative bytes end a group.</summary>
internal readonly record struct AsyncCopy(nint To, nint From, int Bytes, int Source);
