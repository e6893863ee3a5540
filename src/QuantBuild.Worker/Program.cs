using QuantBuild.Quantization;
using TorchSharp;
using System.Diagnostics;
namespace QuantBuild.Worker;
static class Program { static int Main(string[] a) {
 var md = a.Where(x=>x.Contains('=')).ToDictionary(x=>x.Split('=')[0], x=>x.Split('=')[1]);
 var req = new WorkerRequest { ModelPath="samples/models/gutenberg-7m", CalibrationFile="samples/data/calibration.txt", EvaluationFile="samples/data/evaluation.txt",
  Spec = QuantizationSpec.FromMetadata(n => md.GetValueOrDefault(n)), Fingerprint=new string('a',60)+Environment.ProcessId, ArtifactPath="/tmp/q/out"+Environment.ProcessId+".safetensors", BuildRecordPath="/tmp/q/out"+Environment.ProcessId+".build.json", Device="cpu" };
 var sw = Stopwatch.StartNew();
 if (md.TryGetValue("steps", out var st)) AffineGrid.ShrinkSteps=int.Parse(st);
 if (md.TryGetValue("shrink", out var sh)) AffineGrid.LargestShrink=float.Parse(sh);
 if (md.TryGetValue("shifts", out var si)) AffineGrid.ZeroShifts=int.Parse(si);
 if (md.TryGetValue("imp", out var im)) Gptq.ImportanceMode=int.Parse(im);
 var m = ModelQuantizer.Run(req, x => { if (md.ContainsKey("v")) Console.WriteLine($"{sw.Elapsed.TotalSeconds:F2} {x.Text}"); }, default);
 Console.WriteLine($"{string.Join(' ', a),-50} float {m.Quality!.FloatPerplexity:F4} ppl {m.Quality!.Perplexity:F4} {100*(m.Quality.Perplexity/m.Quality.FloatPerplexity-1):F3}%  {sw.Elapsed.TotalSeconds:F1}s {Process.GetCurrentProcess().PeakWorkingSet64>>20}MB {new FileInfo(req.ArtifactPath).Length}");
 return 0; } }
