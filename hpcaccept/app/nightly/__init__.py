"""The use case ``nightly``: idle nodes that were tested longest ago → runs → what changed since last night → who is notified.

::

    choose     which idle nodes tonight?                       pure
    recall     what does the journal say of earlier nights?    pure
    changes    what is different from last night?              pure
    message    how is it said?                                 pure
    runs       submitting, waiting, judging, one run or several
    night      one night, from lock to message
    notify     mail and webhook, and what to do when they fail
    schedule   the line of crontab, the units of systemd       pure
    install    putting them there, and taking them away
"""
