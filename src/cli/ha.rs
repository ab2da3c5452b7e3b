//! The hosts of a rack: which of them owns it, and how it is given to another one.

use super::App;
use super::args::{Format, HandOver};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Out, about, say};
use crate::model::{Ha, HaHost, HaRole, Stale};
use std::time::{Duration, Instant};

/// Shows the hosts.
pub(super) async fn status(app: &App) -> Result<Exit, Failure> {
    let ha = app.client.ha().await?;
    match app.out.format {
        Format::Json | Format::Yaml => app.out.structured(&ha),
        Format::Name => {
            if let Some(owner) = &ha.owner {
                app.out.data(&owner.host);
            }
        }
        Format::Text | Format::Wide => {
            app.out.data(&in_words(&ha, &app.out));
            if !ha.hosts.is_empty() {
                app.out.data(&table(app, &ha));
            }
        }
    }
    Ok(verdict(&ha))
}

/// What is said of answers that are not of now.
pub(super) fn stale_in_words(stale: &Stale) -> String {
    let owner = match (&stale.rack_owner, &stale.rack_owner_url) {
        (Some(owner), Some(url)) => format!("{owner} owns the rack (ask it at {url})"),
        (Some(owner), None) => format!("{owner} owns the rack (ask it there)"),
        (None, _) => "no host owns the rack for certain at the moment".to_owned(),
    };
    let age = stale.stale_age;
    format!("this is stale: it was so {age} s ago, and may be otherwise by now; {owner}")
}

/// What each host of a rack has on its own disk, of the time in which it had the rack. Of one that
/// does not answer it is said that its part is missing.
///
/// # Errors
/// None of them answers.
pub(super) async fn of_each_host<T>(
    client: &Client,
    question: impl AsyncFn(&Client) -> Result<T, Failure>,
) -> Result<Vec<(Client, T)>, Failure> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for host in client.each() {
        match question(&host).await {
            Ok(answer) => found.push((host, answer)),
            Err(failure) if failure.may_pass() => failures.push((host, failure)),
            Err(failure) => return Err(failure),
        }
    }
    if found.is_empty()
        && let Some((_, failure)) = failures.pop()
    {
        return Err(failure);
    }
    for (host, failure) in failures {
        let name = host.endpoint().name();
        say!(
            "{}",
            about(
                &name,
                &format!("{failure}; what it has on its disk is missing here")
            )
        );
    }
    Ok(found)
}

/// Whether all is as it has to be: somebody owns the rack, and somebody else could.
fn verdict(ha: &Ha) -> Exit {
    let owned = ha.owner.as_ref().is_some_and(|owner| !owner.released);
    match ha.role == HaRole::Alone || (owned && ha.has_fit_standby()) {
        true => Exit::Done,
        false => Exit::Failed,
    }
}

fn in_words(ha: &Ha, out: &Out) -> String {
    if ha.role == HaRole::Alone {
        return format!(
            "rack {}: {} is its only host (no [ha] in the configuration)",
            ha.rack, ha.host
        );
    }
    let owner = match &ha.owner {
        None => "no host owns it".to_owned(),
        Some(owner) if owner.released => {
            format!("no host owns it, {} gave it up", owner.host)
        }
        Some(owner) => {
            let since = out.date_and_time(owner.since);
            format!("{} owns it since {since}", owner.host)
        }
    };
    let mut text = format!("rack {}: {owner}; {} is {}", ha.rack, ha.host, ha.role);
    if let Some(left) = ha.permit_left {
        text += &format!(", and may change machines for {left:.0} s without another word of etcd");
    }
    if let Some(why) = &ha.unfit {
        text += &format!("\n{} does not take it: {why}", ha.host);
    }
    if let Some(etcd) = &ha.etcd {
        let members = etcd.endpoints.join(", ");
        let heard = match etcd.heard {
            Some(heard) => format!("answered {heard:.0} s ago"),
            None => "has not answered yet".to_owned(),
        };
        text += &format!("\netcd at {members} {heard}");
        if let Some(latency) = etcd.latency {
            text += &format!(", on the average after {:.1} ms", latency * 1000.0);
        }
        if let Some(space) = etcd.space {
            text += &format!("; {:.0} % of its space are used", space * 100.0);
        }
    }
    if let Some(source) = ha
        .clock_source
        .as_ref()
        .filter(|source| *source == BLIND_CLOCK)
    {
        text += &format!(
            "\nthe clock of {} is {source}: it does not notice that its machine was stopped",
            ha.host
        );
    }
    text
}

fn table(app: &App, ha: &Ha) -> String {
    let mut table = app
        .out
        .table(&["HOST", "ROLE", "SEEN", "VERSION", "CLOCK", "REMARKS"]);
    let owner = ha.owner.as_ref().filter(|owner| !owner.released);
    for host in &ha.hosts {
        let owns = owner.is_some_and(|owner| owner.host == host.host);
        table.add_row([
            host.host.clone(),
            if owns { "owner" } else { "standby" }.to_owned(),
            format!("{:.0} s", host.seen),
            host.version.clone(),
            host.clock_ahead
                .map_or_else(String::new, |ahead| format!("{ahead:+.1} s")),
            remarks(host),
        ]);
    }
    app.out.drawn(table)
}

fn remarks(host: &HaHost) -> String {
    let mut remarks = Vec::new();
    if !host.alive {
        remarks.push("not heard for a while".to_owned());
    }
    if let Some(why) = &host.unfit {
        remarks.push(format!("does not take the rack: {why}"));
    }
    if host.differs {
        remarks.push("other nodes in its configuration".to_owned());
    }
    if host.clock_ahead.is_some_and(|ahead| ahead.abs() > SKEW) {
        remarks.push("set its calendar (NTP)".to_owned());
    }
    remarks.join("; ")
}

/// Gives the rack to another host.
pub(super) async fn hand_over(app: &App, args: HandOver) -> Result<Exit, Failure> {
    let before = app.client.ha().await?;
    let before = before.owner.map(|owner| owner.host).unwrap_or_default();
    app.client.hand_over(args.to.as_deref()).await?;
    if !args.wait {
        let to = args.to.unwrap_or_else(|| "another host".to_owned());
        app.out.data(&format!(
            "{before} gives the rack to {to}: rackbmc ha status shows who has it"
        ));
        return Ok(Exit::Done);
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // Hosts answer one after another while the rack goes from one to the other.
        let ha = app.client.ha().await.ok();
        let owner = ha.and_then(|ha| ha.owner).filter(|owner| !owner.released);
        if let Some(owner) = owner.filter(|owner| owner.host != before) {
            app.out.data(&format!("{} owns the rack", owner.host));
            return Ok(Exit::Done);
        }
        smol::Timer::after(AGAIN).await;
    }
    Err(Failure::Timeout {
        what: "the hand-over".to_owned(),
        after: PATIENCE,
    })
}

/// A clock that a hypervisor stops with its guest.
const BLIND_CLOCK: &str = "kvm-clock";
/// Calendars that are further apart are worth a word.
const SKEW: f64 = 2.0;
/// Where nobody takes the rack in this time, nobody will.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HaOwner;

    fn host(name: &str) -> HaHost {
        HaHost {
            host: name.to_owned(),
            alive: true,
            ..HaHost::default()
        }
    }

    fn ha(released: bool, hosts: Vec<HaHost>) -> Ha {
        Ha {
            rack: "r1".to_owned(),
            host: "mgmt2".to_owned(),
            role: HaRole::Standby.into(),
            owner: Some(HaOwner {
                host: "mgmt1".to_owned(),
                released,
                ..HaOwner::default()
            }),
            hosts,
            ..Ha::default()
        }
    }

    #[test]
    fn all_is_well_where_one_host_owns_the_rack_and_another_one_could() {
        let both = vec![host("mgmt1"), host("mgmt2")];
        assert_eq!(verdict(&ha(false, both.clone())), Exit::Done);
        assert_eq!(verdict(&ha(true, both)), Exit::Failed);
        assert_eq!(verdict(&ha(false, vec![host("mgmt1")])), Exit::Failed);
        let unfit = HaHost {
            unfit: Some("no disk".to_owned()),
            ..host("mgmt2")
        };
        assert_eq!(
            verdict(&ha(false, vec![host("mgmt1"), unfit])),
            Exit::Failed
        );
        let alone = Ha {
            role: HaRole::Alone.into(),
            ..Ha::default()
        };
        assert_eq!(verdict(&alone), Exit::Done);
    }

    #[test]
    fn what_is_stale_is_said_so_with_its_age_and_whom_to_ask() {
        let mut stale = Stale::of(Duration::from_secs(41), Some("mgmt1".to_owned()), None);
        stale.rack_owner_url = Some("https://mgmt1:6385".to_owned());
        assert_eq!(
            stale_in_words(&stale),
            "this is stale: it was so 42 s ago, and may be otherwise by now; mgmt1 owns the rack (ask it at \
             https://mgmt1:6385)"
        );
        let text = stale_in_words(&Stale::of(Duration::ZERO, None, None));
        assert!(
            text.ends_with("no host owns the rack for certain at the moment"),
            "{text}"
        );
    }

    #[test]
    fn the_words_say_who_owns_the_rack_and_why_this_host_does_not_take_it() {
        let mut ha = ha(false, Vec::new());
        ha.unfit = Some("etcd was put back from a copy".to_owned());
        let text = in_words(&ha, &Out::of_a_person());
        assert!(text.contains("mgmt1 owns it since"), "{text}");
        assert!(text.contains("mgmt2 is standby"), "{text}");
        assert!(
            text.ends_with("mgmt2 does not take it: etcd was put back from a copy"),
            "{text}"
        );
    }
}
