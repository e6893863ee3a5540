using QuantBuild;

// Started by ModelCacheTests: holds the lock of a fingerprint until its standard input ends, or until it is killed.
if (args is not ["hold-lock", string root, string fingerprint]) return 2;

using (new ModelCache(root).Lock(fingerprint, () => Console.WriteLine("waiting"), CancellationToken.None))
{
    Console.WriteLine("held");
    Console.In.ReadToEnd();
}

return 0;
