using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace QuantBuild.Quantization;

/// <summary>
/// Reads the pickle of a PyTorch checkpoint: a dictionary of tensors. A pickle is a program, and may call anything that Python can import; this machine has only the
/// instructions that build tensors, tuples, lists, dictionaries, texts and numbers, and knows the few names that a tensor needs, as data. Anything else is an
/// error before it has an effect.
/// </summary>
internal sealed class TensorPickle
{
    // A tensor takes some 25. Each makes a value of at most some hundred bytes, so that this bounds the memory.
    private const int MostInstructions = 1 << 22;

    private const int MostSizes = 8;

    private static readonly Dictionary<string, ElementType> Storages = new(StringComparer.Ordinal)
    {
        ["torch.DoubleStorage"] = ElementType.F64,
        ["torch.FloatStorage"] = ElementType.F32,
        ["torch.HalfStorage"] = ElementType.F16,
        ["torch.BFloat16Storage"] = ElementType.BF16,
        ["torch.LongStorage"] = ElementType.I64,
        ["torch.IntStorage"] = ElementType.I32,
        ["torch.ShortStorage"] = ElementType.I16,
        ["torch.CharStorage"] = ElementType.I8,
        ["torch.ByteStorage"] = ElementType.U8,
        ["torch.BoolStorage"] = ElementType.Bool,
    };

    private readonly byte[] program;
    private readonly List<object?> stack = [];
    private readonly Dictionary<int, object?> memo = [];
    private int position;

    private TensorPickle(byte[] program) => this.program = program;

    /// <summary>The functions that are known, and nothing is done but what they mean for a tensor.</summary>
    private enum Function
    {
        RebuildTensor,
        RebuildParameter,
        OrderedDictionary,
        Size,
    }

    /// <summary>Reads a checkpoint.</summary>
    /// <param name="program">The bytes of <c>data.pkl</c>.</param>
    /// <returns>The tensors of the dictionary, by name; what else it holds is left out.</returns>
    /// <exception cref="ForbiddenException">It does something that building tensors does not need.</exception>
    /// <exception cref="InvalidDataException">It is malformed, or not a dictionary.</exception>
    public static IReadOnlyDictionary<string, Tensor> Read(byte[] program)
    {
        if (new TensorPickle(program).Run() is not Dictionary<string, object?> root) throw new InvalidDataException("it does not hold a dictionary of tensors");
        return root.Where(entry => entry.Value is Tensor).ToDictionary(entry => entry.Key, entry => (Tensor)entry.Value!, StringComparer.Ordinal);
    }

    private object? Run()
    {
        for (int instruction = 0; instruction < MostInstructions; instruction++)
        {
            byte code = Byte();
            switch (code)
            {
                case 0x80: // PROTO
                    if (Byte() is < 2 or > 5) throw new InvalidDataException($"its protocol is {program[position - 1]}, expected 2 to 5");
                    break;
                case 0x95: // FRAME
                    Take(8);
                    break;
                case (byte)'.': // STOP
                    return Pop();
                case (byte)'(': // MARK
                    stack.Add(Mark.Instance);
                    break;
                case (byte)'N': stack.Add(null); break;
                case 0x88: stack.Add(true); break;
                case 0x89: stack.Add(false); break;
                case (byte)'J': stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4))); break;
                case (byte)'K': stack.Add((long)Byte()); break;
                case (byte)'M': stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2))); break;
                case 0x8a: stack.Add(Long(Byte())); break;
                case (byte)'G': stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Take(8))); break;
                case (byte)'X': stack.Add(Text(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))))); break;
                case 0x8c: stack.Add(Text(Byte())); break;
                case 0x8d: stack.Add(Text(Length(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))))); break;
                case (byte)')': stack.Add(Array.Empty<object?>()); break;
                case (byte)'t': stack.Add(PopMarked()); break;
                case 0x85: stack.Add(PopLast(1)); break;
                case 0x86: stack.Add(PopLast(2)); break;
                case 0x87: stack.Add(PopLast(3)); break;
                case (byte)']': stack.Add(new List<object?>()); break;
                case (byte)'a':
                    object? item = Pop();
                    Peek<List<object?>>("a list").Add(item);
                    break;
                case (byte)'e':
                    object?[] items = PopMarked();
                    Peek<List<object?>>("a list").AddRange(items);
                    break;
                case (byte)'}': stack.Add(new Dictionary<string, object?>(StringComparer.Ordinal)); break;
                case (byte)'s':
                    object?[] pair = PopLast(2);
                    SetItems(pair);
                    break;
                case (byte)'u': SetItems(PopMarked()); break;
                case (byte)'q': Remember(Byte()); break;
                case (byte)'r': Remember(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)), int.MaxValue)); break;
                case 0x94: Remember(memo.Count); break;
                case (byte)'h': Recall(Byte()); break;
                case (byte)'j': Recall(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)), int.MaxValue)); break;
                case (byte)'c':
                    string module = Line();
                    stack.Add(Global(module + "." + Line()));
                    break;
                case 0x93:
                    object?[] names = PopLast(2);
                    stack.Add(Global($"{names[0] as string}.{names[1] as string}"));
                    break;
                case (byte)'Q': stack.Add(Persistent(Pop())); break;
                case (byte)'R':
                    object?[] arguments = Pop() as object?[] ?? throw new InvalidDataException("it calls something with arguments that are no tuple");
                    stack.Add(Call(Pop(), arguments));
                    break;
                case (byte)'b': // BUILD: what an OrderedDict remembers beside its items is nothing of a tensor.
                    Pop();
                    Peek<Dictionary<string, object?>>("a dictionary, which alone may have attributes");
                    break;
                default:
                    throw new ForbiddenException(string.Create(CultureInfo.InvariantCulture, $"the instruction 0x{code:x2}{(code is > 32 and < 127 ? $" ('{(char)code}')" : "")}"));
            }
        }

        throw new InvalidDataException($"it has more than {MostInstructions} instructions");
    }

    /// <summary>What a name stands for.</summary>
    private static object Global(string name) => name switch
    {
        "torch._utils._rebuild_tensor_v2" => Function.RebuildTensor,
        "torch._utils._rebuild_parameter" => Function.RebuildParameter,
        "collections.OrderedDict" => Function.OrderedDictionary,
        "torch.Size" => Function.Size,
        _ when Storages.TryGetValue(name, out ElementType type) => type,
        _ => throw new ForbiddenException($"the name {Shown(name)}"),
    };

    /// <summary>A storage: <c>("storage", type, key, device, elements)</c>.</summary>
    private static Storage Persistent(object? id) => id is object?[] and ["storage", ElementType type, string key, string, long elements] && elements >= 0
        ? new Storage(type, key, elements)
        : throw new InvalidDataException("it refers to something that is not a storage");

    private static object? Call(object? function, object?[] arguments) => (function, arguments) switch
    {
        (Function.OrderedDictionary, []) => new Dictionary<string, object?>(StringComparer.Ordinal),
        (Function.Size, [object?[] sizes]) => sizes,
        // The rest is whether it wants a gradient, and hooks, which are an empty dictionary.
        (Function.RebuildParameter, [Tensor tensor, ..]) => tensor,
        (Function.RebuildTensor, [Storage storage, long offset, object?[] { Length: <= MostSizes } size, object?[] { Length: <= MostSizes } stride, ..]) => new Tensor(storage, offset, Sizes(size), Sizes(stride)),
        (Function or ElementType, _) => throw new InvalidDataException($"it calls {function} with arguments of other kinds than a tensor has"),
        _ => throw new ForbiddenException("a call of something that is not a function"),
    };

    private static long[] Sizes(object?[] values) =>
        [.. values.Select(value => value is long size and >= 0 ? size : throw new InvalidDataException("a tensor has a size or stride that is not a number of at least 0"))];

    private void SetItems(object?[] items)
    {
        if (items.Length % 2 != 0) throw new InvalidDataException("it sets a key without a value");
        Dictionary<string, object?> target = Peek<Dictionary<string, object?>>("a dictionary");
        for (int i = 0; i < items.Length; i += 2)
        {
            // A key that is not a text is no name of a tensor.
            if (items[i] is string key) target[key] = items[i + 1];
        }
    }

    private void Remember(int key) => memo[key] = stack.Count > 0 ? stack[^1] : throw Empty();

    private void Recall(int key) => stack.Add(memo.TryGetValue(key, out object? value) ? value : throw new InvalidDataException($"it recalls {key}, which it has not remembered"));

    private object? Pop()
    {
        if (stack.Count == 0 || stack[^1] is Mark) throw Empty();
        object? value = stack[^1];
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object?[] PopLast(int count)
    {
        object?[] values = new object?[count];
        for (int i = count - 1; i >= 0; i--) values[i] = Pop();
        return values;
    }

    private object?[] PopMarked()
    {
        int mark = stack.LastIndexOf(Mark.Instance);
        if (mark < 0) throw Empty();
        object?[] values = [.. stack.Skip(mark + 1)];
        stack.RemoveRange(mark, stack.Count - mark);
        return values;
    }

    private T Peek<T>(string what)
        where T : class => stack.Count > 0 && stack[^1] is T value ? value : throw new InvalidDataException($"it puts something into a value that is not {what}");

    private byte Byte() => Take(1)[0];

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > program.Length - position) throw new InvalidDataException("it ends inside of an instruction");
        position += count;
        return program.AsSpan(position - count, count);
    }

    private int Length(ulong claimed, int? most = null) => claimed <= (ulong)(most ?? program.Length - position)
        ? (int)claimed
        : throw new InvalidDataException($"it claims {claimed} bytes, and {program.Length - position} follow");

    private string Text(int bytes) => Encoding.UTF8.GetString(Take(bytes));

    private long Long(int bytes)
    {
        if (bytes > 8) throw new InvalidDataException($"it has a number of {bytes} bytes, and no tensor has");
        ReadOnlySpan<byte> digits = Take(bytes);
        long value = bytes > 0 && digits[^1] >= 128 ? -1 : 0;
        for (int i = bytes - 1; i >= 0; i--) value = (value << 8) | digits[i];
        return value;
    }

    private string Line()
    {
        int end = Array.IndexOf(program, (byte)'\n', position);
        if (end < 0) throw new InvalidDataException("it ends inside of a name");
        string line = Encoding.UTF8.GetString(program, position, end - position);
        position = end + 1;
        return line;
    }

    private static string Shown(string name)
    {
        const int longest = 100;
        return name.Length <= longest ? name : name[..longest] + "…";
    }

    private static InvalidDataException Empty() => new("it takes a value that it has not made");

    /// <summary>A tensor as the pickle describes it; nothing of it is checked against the file.</summary>
    /// <param name="Storage">What holds its elements.</param>
    /// <param name="Offset">Its first element in the storage.</param>
    /// <param name="Size">Its sizes.</param>
    /// <param name="Stride">Elements of the storage from one to the next, for each size.</param>
    public sealed record Tensor(Storage Storage, long Offset, long[] Size, long[] Stride);

    /// <summary>What holds the elements of tensors.</summary>
    /// <param name="Type">Their type.</param>
    /// <param name="Key">Its entry in the file: <c>data/{Key}</c>.</param>
    /// <param name="Elements">How many.</param>
    public sealed record Storage(ElementType Type, string Key, long Elements);

    /// <summary>The pickle does something that building tensors does not need.</summary>
    /// <param name="what">What.</param>
    public sealed class ForbiddenException(string what) : Exception(what);

    private sealed class Mark
    {
        public static Mark Instance { get; } = new();
    }
}
