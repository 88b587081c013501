//! The table of the state machine's cases: name, terms in seconds, script. [`super`] says how a script is read.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "nothing is nothing",
        "for=60",
        "
        0 | - |
        15 | - |
    ",
    ),
    (
        "without for a row fires at once",
        "",
        "
        0 | a | a:->firing fire:a
        15 | a |
    ",
    ),
    (
        "for is waited for, its end included",
        "for=60",
        "
        0 | a | a:->pending
        15 | a |
        45 | a |
        60 | a | a:pending>firing fire:a
    ",
    ),
    (
        "for is not waited for longer than needed at a coarse interval",
        "for=60 interval=45",
        "
        0 | a | a:->pending
        45 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a pending alert whose row goes is forgotten",
        "for=60",
        "
        0 | a | a:->pending
        45 | - | a:pending>-
        60 | - |
    ",
    ),
    (
        "a row that comes back waits anew",
        "for=60",
        "
        0 | a | a:->pending
        45 | - | a:pending>-
        60 | a | a:->pending
        105 | a |
        120 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a firing alert whose row goes resolves",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a firing alert is sent every minute",
        "",
        "
        0 | a | a:->firing fire:a
        15 | a |
        30 | a |
        45 | a |
        60 | a | fire:a
        75 | a |
        120 | a | fire:a
    ",
    ),
    (
        "a resolved alert is sent at once, every minute, and forgotten after 15",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        30 | - |
        75 | - | end:a
        600 | - | end:a
        900 | - | end:a
        915 | - |
        916 | - | gone:a
        930 | - |
    ",
    ),
    (
        "a pending alert is never sent",
        "for=300",
        "
        0 | a | a:->pending
        60 | a |
        120 | a |
        135 | - | a:pending>-
    ",
    ),
    (
        "a resolved alert whose row is back is a new one",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - | a:firing>resolved end:a
        60 | a | a:->pending
        75 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "without for it fires again at once",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        30 | a | a:->firing fire:a
    ",
    ),
    (
        "rows are alerts of their own",
        "for=30",
        "
        0 | a | a:->pending
        15 | a b | b:->pending
        30 | a b | a:pending>firing fire:a
        45 | b | a:firing>resolved b:pending>firing end:a fire:b
        60 | - | b:firing>resolved end:b
    ",
    ),
    (
        "a value that changes changes no state",
        "for=30",
        "
        0 | a=1 | a:->pending
        15 | a=100 |
        30 | a=NaN | a:pending>firing fire:a
        45 | a=-inf |
    ",
    ),
    (
        "keep_firing_for keeps it firing",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | - | fire:a
        74 | - |
        75 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a row that comes back in time starts keep_firing_for anew",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | a | fire:a
        75 | - |
        120 | - | fire:a
        135 | - | a:firing>resolved end:a
    ",
    ),
    (
        "keep_firing_for is not for pending alerts",
        "for=60 keep=60",
        "
        0 | a | a:->pending
        15 | - | a:pending>-
    ",
    ),
    (
        "keep_firing_for and for together",
        "for=30 keep=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - |
        60 | a |
        75 | - |
        90 | - | fire:a
        105 | - | a:firing>resolved end:a
        120 | a | a:->pending
    ",
    ),
    (
        "kept alerts are sent like others",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        30 | - |
        60 | - | fire:a
        120 | - | fire:a
    ",
    ),
    (
        "two rows with the same labels are refused and change nothing",
        "for=30",
        "
        0 | a | a:->pending
        15 | a a=2 | refused:same
        30 | a | a:pending>firing fire:a
        45 | b b | refused:same
        60 | a |
    ",
    ),
    (
        "the limit counts pending and firing alerts",
        "for=30 limit=2",
        "
        0 | a b | a:->pending b:->pending
        30 | a b | a:pending>firing b:pending>firing fire:a fire:b
    ",
    ),
    (
        "beyond the limit all are cleared, and nothing is sent",
        "for=30 limit=2",
        "
        0 | a b | a:->pending b:->pending
        30 | a b | a:pending>firing b:pending>firing fire:a fire:b
        45 | a b c | a:firing>- b:firing>- refused:limit
        60 | a | a:->pending
    ",
    ),
    (
        "kept alerts count towards the limit",
        "keep=60 limit=2",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        15 | b c | a:firing>- b:firing>- refused:limit
    ",
    ),
    (
        "resolved alerts do not count towards the limit",
        "limit=2",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        15 | c | a:firing>resolved b:firing>resolved c:->firing end:a end:b fire:c
        30 | c d | d:->firing fire:d
    ",
    ),
    (
        "a query that fails changes nothing",
        "for=60",
        "
        0 | a | a:->pending
        15 | error |
        30 | error |
        60 | a | a:pending>firing fire:a
        75 | error |
        90 | error |
        105 | a |
    ",
    ),
    (
        "a row that was gone while queries failed is not missed",
        "for=60",
        "
        0 | a | a:->pending
        15 | error |
        30 | - | a:pending>-
    ",
    ),
    (
        "a firing alert outlives failing queries, unsent",
        "",
        "
        0 | a | a:->firing fire:a
        60 | error |
        120 | error |
        180 | error |
        195 | a | fire:a
    ",
    ),
    (
        "a slow query leaves evaluations out, and for goes by time",
        "for=60",
        "
        0 | a | a:->pending
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after a pause for has passed",
        "for=300",
        "
        0 | a | a:->pending
        4000 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after a pause an alert without its row resolves",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        4000 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a clock that is put forward counts as time",
        "for=300",
        "
        0 | a | a:->pending
        15 | a |
        3615 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a clock that is put back keeps what has been waited for",
        "for=60",
        "
        0 | a | a:->pending
        45 | a |
        -3600 | a |
        -3586 | a |
        -3585 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a clock that is put back keeps what keep_firing_for has waited for",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | - | fire:a
        -1000 | - |
        -986 | - |
        -985 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a clock that is put back does not silence",
        "",
        "
        0 | a | a:->firing fire:a
        30 | a |
        -3600 | a |
        -3570 | a | fire:a
    ",
    ),
    (
        "a clock that is put back and forward again",
        "for=60",
        "
        0 | a | a:->pending
        30 | a |
        -600 | a |
        45 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a firing alert goes on after a restart",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        restart
        60 | a | fire:a
    ",
    ),
    (
        "a firing alert whose row is gone after a restart resolves",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        restart
        90 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a resolved alert is sent again after a restart, then forgotten in time",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        restart
        30 | - | end:a
        915 | - | end:a
        restart
        916 | - | gone:a
    ",
    ),
    (
        "the time of a restart is not waited for",
        "for=300",
        "
        0 | a | a:->pending
        120 | a |
        restart
        1000 | a |
        1165 | a |
        1179 | a |
        1180 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a long for that is nearly over gets ten minutes after a restart",
        "for=1800",
        "
        0 | a | a:->pending
        1500 | a |
        restart
        1560 | a |
        2159 | a |
        2160 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a long for that is far from over goes on where it was",
        "for=1800",
        "
        0 | a | a:->pending
        600 | a |
        restart
        900 | a |
        2085 | a |
        2099 | a |
        2100 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a for that was over is over",
        "for=60 interval=60",
        "
        0 | a | a:->pending
        restart
        60 | a |
        120 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after an outage of more than an hour pending begins anew",
        "for=120",
        "
        0 | a | a:->pending
        105 | a |
        restart
        3706 | a |
        3720 | a |
        3826 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a pending alert whose row is gone after a restart is forgotten",
        "for=120",
        "
        0 | a | a:->pending
        restart
        30 | - | a:pending>-
    ",
    ),
    (
        "keep_firing_for goes on over a restart",
        "keep=120",
        "
        0 | a | a:->firing fire:a
        15 | - |
        restart
        60 | - | fire:a
        135 | - | a:firing>resolved end:a
    ",
    ),
    (
        "two restarts in a row lose nothing",
        "for=60",
        "
        0 | a | a:->pending
        restart
        restart
        15 | a |
        restart
        30 | a |
        75 | a |
        89 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a restart with a clock that is put back",
        "for=60",
        "
        0 | a | a:->pending
        30 | a |
        restart
        -300 | a |
        -271 | a |
        -270 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a reload with a longer for leaves firing alerts alone",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        terms for=600
        45 | a b | b:->pending
        60 | a b |
        90 | a b | fire:a
    ",
    ),
    (
        "a reload with a shorter for fires what has waited so long",
        "for=600",
        "
        0 | a | a:->pending
        60 | a |
        terms for=60
        75 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a reload that drops keep_firing_for resolves",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        15 | - |
        terms keep=0
        30 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a reload with a limit clears what is beyond it",
        "",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        terms limit=1
        15 | a b | a:firing>- b:firing>- refused:limit
    ",
    ),
    (
        "a rule that is removed resolves what was firing",
        "for=30",
        "
        0 | a | a:->pending
        30 | a b | a:pending>firing b:->pending fire:a
        retire 40 | | a:firing>resolved b:pending>- end:a
    ",
    ),
    (
        "a rule that is removed says nothing new of what was resolved",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        retire 40 | | gone:a
    ",
    ),
    (
        "a rule that is removed while it keeps firing resolves",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        15 | - |
        retire 40 | | a:firing>resolved end:a
    ",
    ),
];
