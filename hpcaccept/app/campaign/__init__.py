"""Tests idle nodes round after round, in nobody's way, and never twice: what ``nightly`` and ``campaign`` share, and ``campaign`` itself.

::

    memory     what does a journal say: what is open, what is known of each node?   pure
    choose     which idle nodes now?                                                pure
    wanted     which of our jobs are in a user's way?                               pure
    site       settings, journal and clock of one of them
    runs       one run: submitted, found again, looked at, judged
    rounds     looking, making room, judging, submitting: the one implementation
    standing   where does a campaign stand?                                         pure
    campaign   beginning one, taking it on, its wishes
    report     one report over all its runs                                         pure
"""
