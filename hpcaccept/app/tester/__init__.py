"""The tester on a rented machine, and who asks it from outside.

On the machine: ``hpcaccept tester serve`` (``serve``), with the variables of ``keys.environment(secret)``. Outside::

    secret = keys.new_secret()                                  # one rental, one secret; never in argv, logs or records
    rent(..., env=keys.environment(secret), ports=[5000])       # the caller's
    tester = RemoteTester.connect(public_ip, host_port, secret) # TesterFault until it answers
    while not tester.status().ready: ...
    transcript = collect(tester, Claim(machine, gpu, gpus, memory_bytes))
    tester.start_suite(); tester.progress(n); remote.is_over(lines); tester.result()
    destroy(...)                                                # the machine is not needed to judge
    transcript = transcript.judged(judge(transcript)); overall(transcript.verdicts); dumps(transcript)
"""
