using System.Diagnostics;

namespace QuantBuild.Worker.Tests;

/// <summary>A worker that is killed, at whatever moment, has lost nothing but time.</summary>
public sealed class KillTests
{
    [Theory]
    [InlineData(QuantizationMethod.Gptq, 10)]
    [InlineData(QuantizationMethod.Nf4, 3)]
    public void A_build_that_was_killed_at_random_moments_goes_on_and_gives_the_same_bytes(QuantizationMethod method, int kills)
    {
        QuantizationSpec spec = method == QuantizationMethod.Gptq ? SampleBuild.Quick : new() { Method = method, EvaluationContext = 128 };
        using SampleBuild whole = new(spec);
        double stepMilliseconds = MeasureSteps(whole, out int steps);
        byte[] expected = whole.Artifact!;

        Random random = new(11);
        int killed = 0, resumed = 0;
        while (killed < kills)
        {
            // One build, killed up to four times, each time later: after so many steps, and a part of the next.
            using SampleBuild build = new(spec);
            foreach (int step in Enumerable.Range(0, 4).Select(_ => random.Next(steps + 1)).Order())
            {
                if (killed == kills || !Kill(build, step, random.NextDouble() * stepMilliseconds)) break;
                killed++;
                // Whole or not there.
                if (build.Artifact is { } made) Assert.Equal(expected, made);
            }

            if (build.Run().Any(message => message.Text.EndsWith("(made before)", StringComparison.Ordinal))) resumed++;
            Assert.Equal(expected, build.Artifact);
            Assert.Empty(build.Leftovers);
        }

        Assert.InRange(resumed, 1, kills);
    }

    [Fact]
    public void What_a_killed_run_left_half_written_is_gone_after_the_next()
    {
        using SampleBuild build = new(new QuantizationSpec { Method = QuantizationMethod.Rtn, EvaluationContext = 128 });
        string artifacts = Path.GetDirectoryName(build.Request.ArtifactPath)!;
        Directory.CreateDirectory(artifacts);
        // The artifact is written under a temporary name, from which the writer makes one of its own.
        string[] left = [build.Request.ArtifactPath + ".1.tmp", build.Request.ArtifactPath + ".1.tmp.2.tmp", build.Request.BuildRecordPath + ".3.tmp"];
        string another = Path.Combine(artifacts, "another.safetensors.4.tmp");
        foreach (string file in left.Append(another)) File.WriteAllText(file, "half");
        build.Run();
        Assert.Equal([another], build.Leftovers);
    }

    /// <summary>Runs to the end, and gives the longest time between two steps: the worker's messages of progress.</summary>
    private static double MeasureSteps(SampleBuild build, out int steps)
    {
        using WorkerProcess worker = build.Start();
        double longest = 0;
        steps = 0;
        Stopwatch clock = Stopwatch.StartNew();
        while (worker.ReadLine() is { } line)
        {
            if (WorkerMessage.TryParse(line)!.Kind != WorkerMessageKind.Progress) continue;
            // The first has the start of the process in it.
            if (steps++ > 0) longest = Math.Max(longest, clock.Elapsed.TotalMilliseconds);
            clock.Restart();
        }

        Assert.Equal(0, worker.Wait());
        return longest;
    }

    /// <summary>Runs, and kills after some steps and some time.</summary>
    /// <returns>Whether it was killed; not where it ended before.</returns>
    private static bool Kill(SampleBuild build, int steps, double milliseconds)
    {
        using WorkerProcess worker = build.Start();
        for (int done = 0; done < steps;)
        {
            if (worker.ReadLine() is not { } line) break;
            if (WorkerMessage.TryParse(line)!.Kind == WorkerMessageKind.Progress) done++;
        }

        Thread.Sleep(TimeSpan.FromMilliseconds(milliseconds));
        worker.Kill();
        return worker.Wait() != 0;
    }
}
