//! What alerting counts, under the names that a scrape has. Labels are rule files and groups, which the configuration
//! bounds. Never formats or serves anything.

/// The names of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Alerts,
    Files,
    Evaluations,
    RuleEvaluations,
    RuleFailures,
    Missed,
    Seconds,
    LastSeconds,
    Lag,
    Interval,
    KeepFailures,
    GivenUp,
    QueryMemory,
    RecentRows,
}

impl Metric {
    pub const ALL: [Self; 14] = [
        Self::Alerts,
        Self::Files,
        Self::Evaluations,
        Self::RuleEvaluations,
        Self::RuleFailures,
        Self::Missed,
        Self::Seconds,
        Self::LastSeconds,
        Self::Lag,
        Self::Interval,
        Self::KeepFailures,
        Self::GivenUp,
        Self::QueryMemory,
        Self::RecentRows,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Alerts => "orrery_alerts",
            Self::Files => "orrery_rule_files",
            Self::Evaluations => "orrery_rule_group_evaluations_total",
            Self::RuleEvaluations => "orrery_rule_evaluations_total",
            Self::RuleFailures => "orrery_rule_failures_total",
            Self::Missed => "orrery_rule_group_missed_total",
            Self::Seconds => "orrery_rule_group_seconds_total",
            Self::LastSeconds => "orrery_rule_group_last_seconds",
            Self::Lag => "orrery_rule_group_lag_seconds",
            Self::Interval => "orrery_rule_group_interval_seconds",
            Self::KeepFailures => "orrery_alert_state_failures_total",
            Self::GivenUp => "orrery_alert_history_given_up_total",
            Self::QueryMemory => "orrery_rule_query_memory_bytes",
            Self::RecentRows => "orrery_rule_recent_rows_bytes",
        }
    }

    pub const fn help(self) -> &'static str {
        match self {
            Self::Alerts => "alerts that are pending or firing",
            Self::Files => "rule files by whether they were taken",
            Self::Evaluations => "evaluations of a rule group",
            Self::RuleEvaluations => "evaluations of a group's rules",
            Self::RuleFailures => "evaluations of a group's rules that failed",
            Self::Missed => "evaluations of a rule group that were left out",
            Self::Seconds => "time spent evaluating a rule group",
            Self::LastSeconds => "how long the last evaluation of a rule group took",
            Self::Lag => "how late the last evaluation of a rule group began",
            Self::Interval => "time between evaluations of a rule group",
            Self::KeepFailures => "times that the state of alerts could not be kept",
            Self::GivenUp => "changes of state that the history has lost because they could not be kept",
            Self::QueryMemory => "working memory of the rules' queries",
            Self::RecentRows => "rows of files that are kept in memory for the rules' next queries",
        }
    }

    /// A gauge; the others are counters.
    pub const fn is_gauge(self) -> bool {
        matches!(
            self,
            Self::Alerts
                | Self::Files
                | Self::LastSeconds
                | Self::Lag
                | Self::Interval
                | Self::QueryMemory
                | Self::RecentRows
        )
    }
}

/// One value with its labels, as a scrape has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub metric: Metric,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}
