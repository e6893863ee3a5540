using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>The driver's functions. Every parameter is an integer or a pointer, so a function of n parameters is a delegate of n pointer-sized ones; narrower ones are cut to their width.</summary>
internal sealed unsafe partial class DriverApi : IDisposable
{
    private readonly EmulatedGpu _machine;
    private readonly Dictionary<string, (Delegate Function, nint Address)> _exports = [];
    private readonly Dictionary<nint, object> _objects = [];
    private readonly DriverContext?[] _primary;
    private readonly ThreadLocal<Stack<DriverContext?>> _current = new(() => new());
    private readonly Lock _lock = new();
    private nint _nextHandle = 0x10_0000;
    private bool _initialised;

    private delegate int F0();

    private delegate int F1(nint a);

    private delegate int F2(nint a, nint b);

    private delegate int F3(nint a, nint b, nint c);

    private delegate int F4(nint a, nint b, nint c, nint d);

    private delegate int F5(nint a, nint b, nint c, nint d, nint e);

    private delegate int F11(nint a, nint b, nint c, nint d, nint e, nint f, nint g, nint h, nint i, nint j, nint k);

    public DriverApi(EmulatedGpu machine)
    {
        _machine = machine;
        _primary = new DriverContext?[machine.Devices.Count];
        ExportDevices();
        ExportMemory();
        ExportStreams();
        ExportModules();
    }

    public int LiveAllocations { get; private set; }

    public int LiveObjects => _objects.Count;

    public nint Resolve(string export) => _exports.TryGetValue(export, out (Delegate Function, nint Address) found) ? found.Address : 0;

    private void Export(string name, Delegate function) => _exports[name] = (function, Marshal.GetFunctionPointerForDelegate(function));

    /// <summary>Runs a driver function: what it throws must not reach unmanaged code.</summary>
    private int Call(Func<CuResult> function)
    {
        try
        {
            return (int)function();
        }
        catch (DriverError error)
        {
            return (int)error.Result;
        }
        catch (Exception exception)
        {
            _machine.AddViolation("the emulator failed: " + exception);
            return (int)CuResult.Unknown;
        }
    }

    private void Export(string name, Func<CuResult> function) => Export(name, (Delegate)(F0)(() => Call(function)));

    private void Export(string name, Func<nint, CuResult> function) => Export(name, (Delegate)(F1)(a => Call(() => function(a))));

    private void Export(string name, Func<nint, nint, CuResult> function) => Export(name, (Delegate)(F2)((a, b) => Call(() => function(a, b))));

    private void Export(string name, Func<nint, nint, nint, CuResult> function) => Export(name, (Delegate)(F3)((a, b, c) => Call(() => function(a, b, c))));

    private void Export(string name, Func<nint, nint, nint, nint, CuResult> function) => Export(name, (Delegate)(F4)((a, b, c, d) => Call(() => function(a, b, c, d))));

    private void Export(string name, Func<nint, nint, nint, nint, nint, CuResult> function) => Export(name, (Delegate)(F5)((a, b, c, d, e) => Call(() => function(a, b, c, d, e))));

    private sealed class DriverError(CuResult result) : Exception
    {
        public CuResult Result { get; } = result;
    }

    private static DriverError Fail(CuResult result) => new(result);

    private void Initialised()
    {
        if (!_initialised) throw Fail(CuResult.NotInitialized);
    }

    /// <summary>The current context, in working order.</summary>
    private DriverContext Current()
    {
        Initialised();
        DriverContext context = _current.Value!.TryPeek(out DriverContext? top) && top is not null ? top : throw Fail(CuResult.InvalidContext);
        lock (_lock)
        {
            if (!_objects.ContainsKey(context.Handle)) throw Fail(CuResult.InvalidContext);
        }
        return context.Device.Lost == CuResult.Success ? context : throw Fail(context.Device.Lost);
    }

    private nint Add(object thing, DriverContext? owner)
    {
        lock (_lock)
        {
            nint handle = _nextHandle += 64;
            _objects[handle] = thing;
            owner?.Owned.Add(handle);
            return handle;
        }
    }

    private T Get<T>(nint handle) where T : class
    {
        lock (_lock) return _objects.TryGetValue(handle, out object? thing) && thing is T found ? found : throw Fail(CuResult.InvalidHandle);
    }

    private T Remove<T>(nint handle, DriverContext context) where T : class
    {
        lock (_lock)
        {
            T found = Get<T>(handle);
            _objects.Remove(handle);
            context.Owned.Remove(handle);
            return found;
        }
    }

    private EmulatedDevice Device(nint ordinal)
    {
        Initialised();
        return (int)ordinal >= 0 && (int)ordinal < _machine.Devices.Count ? _machine.Devices[(int)ordinal] : throw Fail(CuResult.InvalidDevice);
    }

    public void Dispose() => _current.Dispose();

    private static void Need(nint pointer)
    {
        if (pointer == 0) throw Fail(CuResult.InvalidValue);
    }
}
