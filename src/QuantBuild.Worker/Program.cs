using QuantBuild.Quantization;
using TorchSharp;
namespace QuantBuild.Worker;
static class Program { static int Main() {
 Console.WriteLine(TorchDevice.Choose("auto").Description);
 using var a = torch.rand(2048,2048); using var warm = a.mm(a);
 var sw = System.Diagnostics.Stopwatch.StartNew(); for (int i=0;i<5;i++) { using var b=a.mm(a);} Console.WriteLine(5*2*Math.Pow(2048,3)/sw.Elapsed.TotalSeconds/1e9 + " GF");
 Console.WriteLine(torch.__version__);
 return 0; } }
