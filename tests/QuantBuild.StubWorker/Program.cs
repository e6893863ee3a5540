// Does what the environment variable QUANTBUILD_STUB says, and writes its process id to the file QUANTBUILD_STUB_STARTS names each time it starts.
//
//   done      makes an artifact; or a comparison, asked for one
//   measured  makes an artifact whose figures are a perplexity of 100 -> 103 and a KL divergence of 0.05, and that was warned of
//   error     says why not, exit code 1
//   crash     writes to standard error, exit code 42
//   quiet     makes an artifact and says no more than that
//   silent    makes an artifact after three seconds, or QUANTBUILD_STUB_SECONDS, without a word that a build shows: it chats on standard error meanwhile
//   obedient  waits for the end of standard input, exit code 130
//   interrupted  ends at once with exit code 130, as at Ctrl+C
//   remote    plays a remote cache that has the artifact: fetch makes it, share warns; and asked to quantize, makes it
//   deaf      waits for nothing and ends never

using System.Globalization;
using QuantBuild;

File.AppendAllLines(Environment.GetEnvironmentVariable("QUANTBUILD_STUB_STARTS")!, [Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]);
switch (Environment.GetEnvironmentVariable("QUANTBUILD_STUB"))
{
    case "done":
        Console.WriteLine("a library says something");
        Send(new() { Kind = WorkerMessageKind.Progress, Text = "layer 1 of 2", Fraction = 0.5, SecondsLeft = 4 });
        Send(new() { Kind = WorkerMessageKind.Warning, Text = "look at this", Code = DiagnosticIds.HessianSingular });
        return MakeArtifact();
    case "measured":
        Send(new() { Kind = WorkerMessageKind.Warning, Text = "few bits", Code = DiagnosticIds.BitsLow });
        return MakeArtifact("""
            {
              "Seconds": 1.5,
              "Quality": { "FloatPerplexity": 100, "Perplexity": 103, "KlDivergence": 0.05, "Top1Agreement": 0.9,
                           "EvaluationTokens": 1000, "EvaluationContext": 64, "EvaluatedOn": "HeldOut", "LayerErrors": [0.1] },
              "Warnings": [{ "Id": "QB3014", "Text": "few bits" }]
            }
            """);
    case "remote":
        switch (args[0])
        {
            case "quantize":
                return MakeArtifact();
            case "fetch":
                ModelCache cache = ModelCache.Default();
                MakeFiles(args[1], cache.ArtifactPath(args[1]), cache.BuildRecordPath(args[1]), cache.ReportPath(args[1]), "{}");
                break;
            default:
                Send(new() { Kind = WorkerMessageKind.Warning, Text = $"{string.Join(' ', args)} failed", Code = DiagnosticIds.RemoteCacheFailed });
                break;
        }

        Send(new() { Kind = WorkerMessageKind.Done, Text = "done" });
        return 0;
    case "error":
        Send(new() { Kind = WorkerMessageKind.Error, Text = "the weights are no good", Code = DiagnosticIds.WeightsMalformed });
        return 1;
    case "crash":
        Console.Error.WriteLine("a library gives up");
        return 42;
    case "quiet":
        return MakeArtifact();
    case "silent":
        int seconds = int.Parse(Environment.GetEnvironmentVariable("QUANTBUILD_STUB_SECONDS") ?? "3", CultureInfo.InvariantCulture);
        for (int second = 0; second < seconds; second++)
        {
            Thread.Sleep(TimeSpan.FromSeconds(1));
            Console.Error.WriteLine("a library chats");
        }

        return MakeArtifact();
    case "obedient":
        Send(new() { Kind = WorkerMessageKind.Progress, Text = "waiting" });
        while (Console.ReadLine() is not null) ;
        return 130;
    case "interrupted":
        return 130;
    case "deaf":
        Send(new() { Kind = WorkerMessageKind.Progress, Text = "waiting" });
        Thread.Sleep(Timeout.Infinite);
        return 0;
    default:
        return 2;
}

int MakeArtifact(string record = "{}")
{
    if (args[0] == "compare") return MakeComparison(CompareRequest.Load(args[^1]));
    WorkerRequest request = WorkerRequest.Load(args[^1]);
    MakeFiles(request.Fingerprint, request.ArtifactPath, request.BuildRecordPath, request.ReportPath!, record);
    Send(new() { Kind = WorkerMessageKind.Done, Text = "done" });
    return 0;
}

static void MakeFiles(string fingerprint, string artifact, string buildRecord, string report, string record)
{
    Directory.CreateDirectory(Path.GetDirectoryName(artifact)!);
    string checksum = $$"""{ "ArtifactBytes": {{fingerprint.Length}}, "ArtifactSha256": "{{FileHash.OfText(fingerprint)}}" """;
    File.WriteAllText(buildRecord, checksum + (record == "{}" ? "}" : "," + record.TrimStart()[1..]));
    File.WriteAllText(report, "report on " + fingerprint);
    File.WriteAllText(artifact, fingerprint);
}

static int MakeComparison(CompareRequest request)
{
    File.WriteAllText(request.OutputPath + ".html", "page");
    File.WriteAllText(request.OutputPath + ".json", "{}");
    File.WriteAllText(request.OutputPath + ".md", $"| {request.Spec.Method} {request.Spec.Bits} {{0}} |\n");
    Send(new() { Kind = WorkerMessageKind.Done, Text = "compared" });
    return 0;
}

static void Send(WorkerMessage message)
{
    Console.WriteLine(message.ToLine());
    Console.Out.Flush();
}
