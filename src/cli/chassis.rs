//! `chassis status` and `chassis policy`: what BMCs say of their chassis, and what machines do when
//! mains power comes back.

use super::App;
use super::args::{Nodes, Policy};
use super::exit::{Exit, Failure};
use super::node_ops::each;
use crate::model::{Chassis, RestorePolicy};
use serde_json::{Value, json};

/// `chassis status`.
pub(super) async fn status(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    each(app, wanted, async move |node| {
        let answer = app.client.bmc_reading(&node, "chassis").await?;
        let Some(chassis) = answer.chassis else {
            return Ok(("nothing said".to_owned(), Value::Null));
        };
        let shown = serde_json::to_value(&chassis).expect("answers are JSON");
        Ok((chassis_in_words(&chassis), shown))
    })
    .await
}

fn chassis_in_words(chassis: &Chassis) -> String {
    let facts = chassis.facts().into_iter();
    let words: Vec<String> = [format!("power {}", chassis.power)]
        .into_iter()
        .chain(facts.map(|(head, text)| format!("{head}: {text}")))
        .collect();
    words.join("; ")
}

/// `chassis policy`.
pub(super) async fn policy(app: &App, args: Policy) -> Result<Exit, Failure> {
    let set = args.set;
    each(app, &args.nodes, async move |node| {
        if let Some(policy) = set {
            app.client.set_restore_policy(&node, policy).await?;
            return Ok((
                format!("when mains power comes back: {policy}"),
                json!({ "restore_policy": policy }),
            ));
        }
        let chassis = app.client.bmc_reading(&node, "chassis").await?.chassis;
        let policy = chassis.and_then(|chassis| chassis.restore_policy);
        let word = policy.map_or("not known", RestorePolicy::name);
        Ok((
            format!("when mains power comes back: {word}"),
            json!({ "restore_policy": policy }),
        ))
    })
    .await
}
