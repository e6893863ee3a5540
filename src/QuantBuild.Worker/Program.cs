namespace QuantBuild.Worker; static class Program { static int Main() => 0; }
