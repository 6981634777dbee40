//! The queries of the four golden signals, as they are asked.
#![cfg(feature = "cli")]

use std::time::Duration;

use pushpull::signals::{Objective, Scope, signals};

#[test]
fn queries() {
    let objective = Objective::new(Duration::from_secs(1));
    let scope = Scope {
        service: "pushpull".to_owned(),
        job: "pushpull".to_owned(),
        window: Duration::from_secs(300),
        objective,
    };
    let text: String = signals(&scope)
        .into_iter()
        .map(|signal| {
            let graphite = signal.graphite.unwrap_or_else(|| "none".to_owned());
            format!("{} [{}]\n  {}\n  {graphite}\n", signal.name, signal.unit, signal.promql)
        })
        .collect();
    insta::assert_snapshot!(text);
}
