using System.Numerics;
using System.Runtime.CompilerServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary><c>atom</c> and <c>red</c>: other blocks run on other cores, so each lane's update is a compare-and-exchange.</summary>
internal static unsafe class Atomics
{
    /// <summary><see cref="Instruction.D"/> is negative for <c>red</c>, which has no result.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TOp, T>(Warp w, Instruction i) where TOp : struct, ITernary<T, T, T, T> where T : unmanaged
    {
        MemoryAccess.Addresses(w, i, true);
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T b = Lanes.Read<T>(w.Registers + i.B, lane), c = i.C < 0 ? default : Lanes.Read<T>(w.Registers + i.C, lane), old;
            if (sizeof(T) == 8)
            {
                ref ulong place = ref *(ulong*)w.Addresses[lane];
                ulong seen;
                do
                {
                    seen = Volatile.Read(ref place);
                    old = Unsafe.BitCast<ulong, T>(seen);
                }
                while (Interlocked.CompareExchange(ref place, Unsafe.BitCast<T, ulong>(TOp.Do(old, b, c)), seen) != seen);
            }
            else if (sizeof(T) == 4)
            {
                ref uint place = ref *(uint*)w.Addresses[lane];
                uint seen;
                do
                {
                    seen = Volatile.Read(ref place);
                    old = Unsafe.BitCast<uint, T>(seen);
                }
                while (Interlocked.CompareExchange(ref place, Unsafe.BitCast<T, uint>(TOp.Do(old, b, c)), seen) != seen);
            }
            else
            {
                ref ushort place = ref *(ushort*)w.Addresses[lane];
                ushort seen;
                do
                {
                    seen = Volatile.Read(ref place);
                    old = Unsafe.BitCast<ushort, T>(seen);
                }
                while (Interlocked.CompareExchange(ref place, Unsafe.BitCast<T, ushort>(TOp.Do(old, b, c)), seen) != seen);
            }
            if (i.D >= 0) Lanes.Write(w.Registers + i.D, lane, old);
        }
    }
}

internal readonly struct AtomAdd<T> : ITernary<T, T, T, T> where T : IAdditionOperators<T, T, T> { public static T Do(T old, T b, T c) => unchecked(old + b); }

internal readonly struct AtomMin<T> : ITernary<T, T, T, T> where T : INumber<T> { public static T Do(T old, T b, T c) => T.Min(old, b); }

internal readonly struct AtomMax<T> : ITernary<T, T, T, T> where T : INumber<T> { public static T Do(T old, T b, T c) => T.Max(old, b); }

internal readonly struct AtomAnd<T> : ITernary<T, T, T, T> where T : IBitwiseOperators<T, T, T> { public static T Do(T old, T b, T c) => old & b; }

internal readonly struct AtomOr<T> : ITernary<T, T, T, T> where T : IBitwiseOperators<T, T, T> { public static T Do(T old, T b, T c) => old | b; }

internal readonly struct AtomXor<T> : ITernary<T, T, T, T> where T : IBitwiseOperators<T, T, T> { public static T Do(T old, T b, T c) => old ^ b; }

internal readonly struct AtomExchange<T> : ITernary<T, T, T, T> { public static T Do(T old, T b, T c) => b; }

internal readonly struct AtomCompare<T> : ITernary<T, T, T, T> where T : IEqualityOperators<T, T, bool> { public static T Do(T old, T b, T c) => old == b ? c : old; }

internal readonly struct AtomIncrement : ITernary<uint, uint, uint, uint> { public static uint Do(uint old, uint b, uint c) => old >= b ? 0 : old + 1; }

internal readonly struct AtomDecrement : ITernary<uint, uint, uint, uint> { public static uint Do(uint old, uint b, uint c) => old == 0 || old > b ? b : old - 1; }

/// <summary>Each half on its own, as PTX promises no more.</summary>
internal readonly struct AtomAddHalf2 : ITernary<uint, uint, uint, uint> { public static uint Do(uint old, uint b, uint c) => Pair<AddOp<Half>, Half>.Do(old, b); }

internal readonly struct AtomAddBrain2 : ITernary<uint, uint, uint, uint> { public static uint Do(uint old, uint b, uint c) => Pair<AddOp<Brain>, Brain>.Do(old, b); }
