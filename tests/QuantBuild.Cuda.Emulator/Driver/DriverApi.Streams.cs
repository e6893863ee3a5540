using System.Diagnostics;

namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class DriverApi
{
    private void ExportStreams()
    {
        Export("cuStreamCreate", (stream, flags) =>
        {
            DriverContext context = Current();
            *(nint*)stream = Add(new DriverStream(context), context);
            return CuResult.Success;
        });
        Export("cuStreamCreateWithPriority", (stream, flags, priority) =>
        {
            DriverContext context = Current();
            *(nint*)stream = Add(new DriverStream(context), context);
            return CuResult.Success;
        });
        Export("cuStreamDestroy_v2", stream =>
        {
            DriverContext context = Current();
            Remove<DriverStream>(stream, context);
            return CuResult.Success;
        });
        Export("cuStreamSynchronize", Waits);
        Export("cuStreamQuery", Waits);
        Export("cuStreamWaitEvent", (stream, awaited, flags) =>
        {
            Current();
            DriverEvent found = Get<DriverEvent>(awaited);
            DriverStream? waiting = stream is 0 or 1 or 2 ? null : Get<DriverStream>(stream);
            if (found.Capture is not { } capture) return CuResult.Success;
            if (waiting is null || (waiting.Capture is not null && waiting.Capture != capture)) return CuResult.StreamCaptureUnsupported;
            waiting.Capture = capture;
            if (!capture.Streams.Contains(waiting)) capture.Streams.Add(waiting);
            found.CapturedOn!.Unjoined = false;
            if (waiting != capture.Origin) waiting.Unjoined = true;
            return CuResult.Success;
        });
        Export("cuEventCreate", (created, flags) =>
        {
            DriverContext context = Current();
            *(nint*)created = Add(new DriverEvent(context, (uint)flags), context);
            return CuResult.Success;
        });
        Export("cuEventDestroy_v2", destroyed =>
        {
            Remove<DriverEvent>(destroyed, Current());
            return CuResult.Success;
        });
        Export("cuEventRecord", (recorded, stream) =>
        {
            Current();
            DriverEvent found = Get<DriverEvent>(recorded);
            DriverStream? on = stream is 0 or 1 or 2 ? null : Get<DriverStream>(stream);
            (found.Capture, found.CapturedOn) = (on?.Capture, on);
            if (on?.Capture is null) found.Recorded = Stopwatch.GetTimestamp();
            return CuResult.Success;
        });
        Export("cuEventQuery", queried => EventDone(queried));
        Export("cuEventSynchronize", awaited => EventDone(awaited));
        Export("cuEventElapsedTime", ElapsedTime);
        Export("cuEventElapsedTime_v2", ElapsedTime);
        Export("cuStreamBeginCapture_v2", (stream, mode) =>
        {
            DriverContext context = Current();
            // The legacy stream cannot be captured.
            if (stream is 0 or 1 or 2) return CuResult.StreamCaptureUnsupported;
            DriverStream found = Get<DriverStream>(stream);
            if (found.Capture is not null) return CuResult.IllegalState;
            found.Capture = new(found, (int)mode);
            context.Captures.Add(found.Capture);
            return CuResult.Success;
        });
        Export("cuStreamIsCapturing", (stream, status) =>
        {
            Current();
            StreamCapture? capture = stream is 0 or 1 or 2 ? null : Get<DriverStream>(stream).Capture;
            *(int*)status = capture is null ? 0 : capture.Invalid ? 2 : 1;
            return CuResult.Success;
        });
        Export("cuStreamEndCapture", (stream, graph) =>
        {
            DriverContext context = Current();
            if (stream is 0 or 1 or 2) return CuResult.IllegalState;
            DriverStream found = Get<DriverStream>(stream);
            if (found.Capture is not { } capture || capture.Origin != found) return CuResult.IllegalState;
            context.Captures.Remove(capture);
            bool unjoined = capture.Streams.Any(s => s != found && s.Unjoined);
            foreach (DriverStream captured in capture.Streams) (captured.Capture, captured.Unjoined) = (null, false);
            *(nint*)graph = 0;
            if (capture.Invalid) return CuResult.StreamCaptureInvalidated;
            if (unjoined) return CuResult.StreamCaptureUnjoined;
            *(nint*)graph = Add(new DriverGraph(capture.Work), context);
            return CuResult.Success;
        });
        Export("cuGraphInstantiateWithFlags", (instance, graph, flags) =>
        {
            DriverContext context = Current();
            *(nint*)instance = Add(new DriverGraphInstance(context, [.. Get<DriverGraph>(graph).Work]), context);
            return CuResult.Success;
        });
        Export("cuGraphLaunch", (instance, stream) =>
        {
            Current();
            DriverGraphInstance found = Get<DriverGraphInstance>(instance);
            return Enqueue(stream, () =>
            {
                _machine.CountGraphLaunch();
                foreach (Func<CuResult> work in found.Work)
                {
                    if (work() is var result and not CuResult.Success) return result;
                }
                return CuResult.Success;
            });
        });
        Export("cuGraphExecDestroy", instance =>
        {
            Remove<DriverGraphInstance>(instance, Current());
            return CuResult.Success;
        });
        Export("cuGraphDestroy", graph =>
        {
            Remove<DriverGraph>(graph, Current());
            return CuResult.Success;
        });
        Export("cuGraphGetNodes", (graph, nodes, count) =>
        {
            Current();
            List<Func<CuResult>> work = Get<DriverGraph>(graph).Work;
            if (nodes != 0) return CuResult.InvalidValue;
            *(ulong*)count = (ulong)work.Count;
            return CuResult.Success;
        });
    }

    private CuResult Waits(nint stream)
    {
        DriverContext context = Current();
        if (stream is 0 or 1 or 2)
        {
            Unsafe(context, true);
            return CuResult.Success;
        }
        if (Get<DriverStream>(stream).Capture is not { } capture) return CuResult.Success;
        capture.Invalid = true;
        return CuResult.StreamCaptureUnsupported;
    }

    private CuResult EventDone(nint handle)
    {
        Current();
        if (Get<DriverEvent>(handle).Capture is not { } capture) return CuResult.Success;
        capture.Invalid = true;
        return CuResult.CapturedEvent;
    }

    private CuResult ElapsedTime(nint milliseconds, nint start, nint end)
    {
        Current();
        (DriverEvent first, DriverEvent last) = (Get<DriverEvent>(start), Get<DriverEvent>(end));
        if (!first.HasTime || !last.HasTime || first.Recorded == 0 || last.Recorded == 0) return CuResult.InvalidHandle;
        *(float*)milliseconds = (float)Stopwatch.GetElapsedTime(first.Recorded, last.Recorded).TotalMilliseconds;
        return CuResult.Success;
    }

    /// <summary>
    /// Refuses a call that may not be made while a stream is captured, and invalidates the capture. Those that wait for streams never may; others may where the capture is relaxed, or
    /// thread-local and another thread's.
    /// </summary>
    private static void Unsafe(DriverContext context, bool waits)
    {
        foreach (StreamCapture capture in context.Captures)
        {
            if (!waits && (capture.Mode == 2 || (capture.Mode == 1 && capture.Thread != Environment.CurrentManagedThreadId))) continue;
            capture.Invalid = true;
            throw Fail(CuResult.StreamCaptureUnsupported);
        }
    }

    /// <summary>Runs work of a stream at once, or records it where the stream is captured.</summary>
    private CuResult Enqueue(nint stream, Func<CuResult> work)
    {
        DriverContext context = Current();
        if (stream is 0 or 1 or 2)
        {
            if (stream is 0 or 1) Unsafe(context, true);
            return work();
        }
        DriverStream found = Get<DriverStream>(stream);
        if (found.Context != context) return CuResult.InvalidHandle;
        if (found.Capture is not { } capture) return work();
        if (capture.Invalid) return CuResult.StreamCaptureInvalidated;
        capture.Work.Add(work);
        if (found != capture.Origin) found.Unjoined = true;
        return CuResult.Success;
    }
}
