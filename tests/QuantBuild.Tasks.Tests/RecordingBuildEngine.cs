using System.Collections;
using System.Collections.Concurrent;
using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

/// <summary>Keeps what a task logs, and on which thread.</summary>
internal sealed class RecordingBuildEngine : IBuildEngine
{
    public ConcurrentQueue<BuildErrorEventArgs> Errors { get; } = new();

    public ConcurrentQueue<BuildWarningEventArgs> Warnings { get; } = new();

    public ConcurrentQueue<BuildMessageEventArgs> Messages { get; } = new();

    public ConcurrentDictionary<int, bool> Threads { get; } = new();

    /// <summary>Called with each message, before it is kept.</summary>
    public Action<string>? OnMessage { get; set; }

    public IEnumerable<string> ErrorCodes => Errors.Select(e => e.Code);

    public bool ContinueOnError => false;

    public int LineNumberOfTaskNode => 0;

    public int ColumnNumberOfTaskNode => 0;

    public string ProjectFileOfTaskNode => "test.proj";

    public void LogErrorEvent(BuildErrorEventArgs e) => Log(Errors, e);

    public void LogWarningEvent(BuildWarningEventArgs e) => Log(Warnings, e);

    public void LogMessageEvent(BuildMessageEventArgs e)
    {
        OnMessage?.Invoke(e.Message!);
        Log(Messages, e);
    }

    public void LogCustomEvent(CustomBuildEventArgs e)
    {
    }

    public bool BuildProjectFile(string projectFileName, string[] targetNames, IDictionary globalProperties, IDictionary targetOutputs) =>
        throw new NotSupportedException();

    private void Log<T>(ConcurrentQueue<T> queue, T entry)
    {
        Threads[Environment.CurrentManagedThreadId] = true;
        queue.Enqueue(entry);
    }
}
