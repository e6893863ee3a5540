using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace QuantBuild.Quantization;

/// <summary>
/// A PyTorch checkpoint (<c>pytorch_model.bin</c>): a zip file with a pickle that describes the tensors, and an uncompressed entry for each storage. Only tensors are understood:
/// see <see cref="TensorPickle"/>.
/// </summary>
internal sealed class PyTorchFile : ICheckpointFile
{
    private const int LongestPickle = 64 << 20;

    private readonly SafeFileHandle handle;

    // For tensors alone whose elements do not follow each other: what is mapped and read counts as memory.
    private readonly Lazy<MemoryMappedViewAccessor> view;

    private PyTorchFile(string path, SafeFileHandle handle)
    {
        this.handle = handle;
        view = new(() =>
        {
            using MemoryMappedFile map = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            return map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        });
        Tensors = Read(path);
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<CheckpointTensor> Tensors { get; }

    /// <summary>Opens a file, and checks each of its tensors against it.</summary>
    /// <exception cref="QuantBuildException">QB2005 malformed, QB2040 it does more than describe tensors, QB2041 the older form.</exception>
    public static PyTorchFile Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            return new PyTorchFile(path, handle);
        }
        catch (Exception e)
        {
            handle?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
            {
                throw new QuantBuildException(
                    DiagnosticIds.WeightsMalformed, $"{path} cannot be read: {e.Message} Check that the file is there and that this user may read it.", e);
            }

            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (view.IsValueCreated) view.Value.Dispose();
        handle.Dispose();
    }

    private List<CheckpointTensor> Read(string path)
    {
        try
        {
            byte[] start = new byte[4];
            int read = RandomAccess.Read(handle, start, 0);
            if (!ZipDirectory.IsZip(start.AsSpan(0, read)))
            {
                // The older form begins with a pickle too: protocol 2, then a number that is its mark.
                if (read >= 3 && start is [0x80, 2, 0x8a, ..]) throw Legacy(path);
                throw new InvalidDataException("it does not begin as a zip file, which is what torch writes");
            }

            Dictionary<string, ZipDirectory.Entry> entries = ZipDirectory.Read(handle);
            string folder = Folder(entries.Keys);
            long length = RandomAccess.GetLength(handle);
            if (entries.TryGetValue(folder + "byteorder", out ZipDirectory.Entry order)
                && !FileBytes.Read(handle, length, order.Offset, (int)Math.Min(order.Length, 16)).AsSpan().StartsWith("little"u8))
            {
                throw new InvalidDataException("its bytes are not little-endian");
            }

            ZipDirectory.Entry program = entries[folder + "data.pkl"];
            if (program.Length > LongestPickle) throw new InvalidDataException($"its description of tensors has {program.Length} bytes, expected at most {LongestPickle}");
            IReadOnlyDictionary<string, TensorPickle.Tensor> tensors = TensorPickle.Read(FileBytes.Read(handle, length, program.Offset, (int)program.Length));
            return [.. tensors.Select(tensor => Create(path, tensor.Key, tensor.Value, entries, folder))];
        }
        catch (TensorPickle.ForbiddenException e)
        {
            throw new QuantBuildException(
                DiagnosticIds.PickleForbidden,
                $"{path} holds {e.Message}, and a file of weights needs nothing of the kind. A pickle may run code when it is loaded: this one is not read any further. " +
                "Take the model's *.safetensors files; or, if you trust the file, load it in Python and save its state_dict again.", e);
        }
        catch (InvalidDataException e)
        {
            throw new QuantBuildException(DiagnosticIds.WeightsMalformed, $"{path} is not a valid PyTorch checkpoint: {e.Message}. Copy or download the file again.", e);
        }
    }

    private CheckpointTensor Create(string path, string name, TensorPickle.Tensor tensor, Dictionary<string, ZipDirectory.Entry> entries, string folder)
    {
        (TensorPickle.Storage storage, long offset, long[] size, long[] stride) = tensor;
        if (!entries.TryGetValue($"{folder}data/{storage.Key}", out ZipDirectory.Entry entry)) throw new InvalidDataException($"the data of {name}, data/{storage.Key}, is missing");
        if (size.Length != stride.Length || size.Length > 8) throw new InvalidDataException($"{name} has {size.Length} sizes and {stride.Length} strides");
        int bytes = storage.Type.Size();
        long available = entry.Length / bytes, elements = 1, last = offset;
        try
        {
            checked
            {
                foreach (long count in size) elements *= count;
                if (elements > 0) last = offset + size.Zip(stride).Sum(pair => (pair.First - 1) * pair.Second);
            }
        }
        catch (OverflowException)
        {
            elements = long.MaxValue;
        }

        // More elements than the storage has would be the same ones again and again: no weight is, and a few bytes could ask for any amount of memory.
        if (storage.Elements > available || elements > available || offset < 0 || offset > available || (elements > 0 && (last < 0 || last >= available)))
        {
            throw new InvalidDataException(
                $"{name} of [{string.Join(", ", size)}] elements from {offset} on does not fit into data/{storage.Key}, which has {available} (the file may be truncated)");
        }

        long start = entry.Offset + (offset * bytes);
        return new CheckpointTensor(name, storage.Type, size, FileBytes.Reader(path, name, IsContiguous(size, stride)
            ? (at, target) => FileBytes.Fill(handle, start + at, target)
            : (at, target) => Gather(start, entry.Offset + entry.Length, size, stride, bytes, at, target)));
    }

    /// <summary>Reads elements that do not follow each other: of a transposed or sliced tensor.</summary>
    private unsafe void Gather(long start, long end, long[] size, long[] stride, int bytes, long at, Span<byte> target)
    {
        // What is mapped and not there any more ends the process.
        if (RandomAccess.GetLength(handle) < end) throw new EndOfStreamException("The weight file became shorter since it was opened.");
        SafeMemoryMappedViewHandle memory = view.Value.SafeMemoryMappedViewHandle;
        byte* first = null;
        memory.AcquirePointer(ref first);
        try
        {
            byte* data = first + view.Value.PointerOffset + start;
            long index = at / bytes;
            for (int done = 0; done < target.Length; done += bytes, index++)
            {
                long rest = index, place = 0;
                for (int d = size.Length - 1; d >= 0; d--)
                {
                    (rest, long digit) = Math.DivRem(rest, size[d]);
                    place += digit * stride[d];
                }

                new ReadOnlySpan<byte>(data + (place * bytes), bytes).CopyTo(target[done..]);
            }
        }
        finally
        {
            memory.ReleasePointer();
        }
    }

    private static bool IsContiguous(long[] size, long[] stride)
    {
        long expected = 1;
        for (int d = size.Length - 1; d >= 0; d--)
        {
            if (size[d] != 1 && stride[d] != expected) return false;
            expected *= size[d];
        }

        return true;
    }

    private static string Folder(IEnumerable<string> entries)
    {
        string[] programs = [.. entries.Where(name => name.EndsWith("/data.pkl", StringComparison.Ordinal))];
        return programs is [string program]
            ? program[..^"data.pkl".Length]
            : throw new InvalidDataException($"it has {programs.Length} entries data.pkl, expected one (a TorchScript archive, or no checkpoint?)");
    }

    private static QuantBuildException Legacy(string path) => new(
        DiagnosticIds.CheckpointFormOld,
        $"{path} is in the form that PyTorch wrote before version 1.6, which is not read. Take the model's *.safetensors files; or, if you trust the file, load it in a current " +
        "PyTorch and save it again: torch.save(torch.load(path, weights_only=True), path).");
}
