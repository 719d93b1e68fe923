"""The use case ``nightly``: idle nodes that were tested longest ago → runs → what changed since last night → who is notified.

::

    earlier_nights   which nights were missed, which nodes wait too long?   pure
    changes    what is different from last night?              pure
    message    how is it said?                                 pure
    night      one night, from lock to message; its rounds are those of app.campaign
    notify     mail and webhook, and what to do when they fail
    schedule   the line of crontab, the units of systemd       pure
    install    putting them there, and taking them away
"""
