//! The keys that may stand in `[defaults]` and in `[[node]]`: read, judged, and laid over one
//! another.

use super::complaint::{At, Findings, nearest};
use super::files::{From, Secrets, bmc_key, hex};
use super::node::check_group;
use super::section::{Section, integer_of, text_of};
use crate::bmc::Care;
use crate::ipmi::session15::AuthType;
use crate::ipmi::{PrivilegeLevel, SuiteId};
use crate::model::{Identity, OnSoftTimeout};
use crate::power;
use crate::session;
use crate::session::quirk::{Quirk, Quirks};
use crate::session::secret::{BmcKey, PASSWORD_LIMIT, PASSWORD_LIMIT_V15};
use crate::session::settings::{AuthChoice, Protocol, Timing};
use std::ops::Range;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest user name (§22.28).
const USERNAME_LIMIT: usize = 16;

/// Hints for keys that people are used to from elsewhere.
pub(super) const HINTS: &[(&str, &str)] = &[
    (
        "password",
        "a password does not stand in this file: put it into another one and write password_file",
    ),
    ("user", "write username"),
    ("host", "write address"),
    ("cipher_suite", "write cipher_suites, a list like [17, 3]"),
    (
        "timeout",
        "write soft_power_off_timeout or power_change_timeout",
    ),
];

/// Silence of a BMC after which it is called dead.
pub(super) const BREAKER_AFTER: Duration = Duration::from_millis(4500);

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What may stand in `[defaults]` and in `[[node]]`, as typed.
#[derive(Clone, Default)]
pub(super) struct Keys {
    username: Option<At<String>>,
    password: Option<At<From>>,
    bmc_key: Option<At<KeyFrom>>,
    privilege: Option<At<PrivilegeLevel>>,
    suites: Option<At<Vec<At<SuiteId>>>>,
    protocol: Option<At<Protocol>>,
    auth_choice: Option<At<AuthChoice>>,
    quirks: Option<At<Quirks>>,
    pub port: Option<At<u16>>,
    pub groups: Option<At<Vec<At<String>>>>,
    patience: Option<At<Duration>>,
    change_timeout: Option<At<Duration>>,
    min_off_time: Option<At<Duration>>,
    on_soft_timeout: Option<At<OnSoftTimeout>>,
    repeat_soft_after: Option<At<Duration>>,
    hard_after: Option<At<Duration>>,
    settle: Option<At<Duration>>,
    rollback_settle: Option<At<Duration>>,
    pub nmi: Option<At<bool>>,
    power_off: Option<At<bool>>,
    pub nmi_min_interval: Option<At<Duration>>,
    nmi_watch: Option<At<Duration>>,
    pub orders_per_second: Option<At<f64>>,
    pub burst: Option<At<u32>>,
    pub keepalive: Option<At<Duration>>,
    pub idle_close: Option<At<Duration>>,
    pub identity: Option<At<Identity>>,
    pub auth_failures: Option<At<u32>>,
    pub auth_hold: Option<At<Duration>>,
    pub breaker_after: Option<At<Duration>>,
    pub breaker_retry: Option<At<Duration>>,
}

/// Where the BMC key comes from.
#[derive(Clone)]
enum KeyFrom {
    Bytes(Zeroizing<Vec<u8>>),
    File(From),
}

impl Keys {
    /// Reads them from a section. Inline keys are refused where `exposed`: others may read the
    /// configuration.
    pub(super) fn read(
        section: &mut Section<'_>,
        exposed: bool,
        findings: &mut Findings<'_>,
    ) -> Self {
        let mut duration = |key, least, most, findings: &mut Findings<'_>| {
            section.duration(key, least..=most, findings)
        };
        let (day, hour) = (seconds(86_400), seconds(3600));
        let patience = duration(
            "soft_power_off_timeout",
            seconds(1),
            seconds(7 * 86_400),
            findings,
        );
        let change_timeout = duration("power_change_timeout", seconds(1), hour, findings);
        let min_off_time = duration("min_off_time", Duration::ZERO, hour, findings);
        let repeat_soft_after = duration("repeat_soft_after", seconds(10), day, findings);
        let hard_after = duration("hard_after", seconds(10), day, findings);
        let settle = duration("settle", seconds(1), seconds(600), findings);
        let rollback_settle = duration("rollback_settle", seconds(1), hour, findings);
        let nmi_min_interval = duration("nmi_min_interval", Duration::ZERO, day, findings);
        let nmi_watch = duration("nmi_watch", seconds(1), hour, findings);
        let keepalive = duration("keepalive", seconds(5), seconds(300), findings);
        let idle_close = duration("idle_close", seconds(1), hour, findings);
        let auth_hold = duration("auth_hold", seconds(60), day, findings);
        let breaker_after = duration("breaker_after", seconds(1), seconds(60), findings);
        let breaker_retry = duration("breaker_retry", seconds(5), hour, findings);
        let protocols = [
            ("2.0", Protocol::V20),
            ("1.5", Protocol::V15(AuthChoice::Strongest)),
            ("2.0 then 1.5", Protocol::V20ThenV15),
        ];
        let auth_choices = [
            ("strongest", AuthChoice::Strongest),
            ("md5", AuthChoice::Only(AuthType::Md5)),
            ("md2", AuthChoice::Only(AuthType::Md2)),
            ("password", AuthChoice::Only(AuthType::Password)),
            ("none", AuthChoice::Only(AuthType::None)),
        ];
        let privileges = [
            ("user", PrivilegeLevel::User),
            ("operator", PrivilegeLevel::Operator),
            ("administrator", PrivilegeLevel::Administrator),
            ("admin", PrivilegeLevel::Administrator),
        ];
        Self {
            username: username(section, findings),
            password: password(section, findings),
            bmc_key: key_from(section, exposed, findings),
            privilege: section.word("privilege", &privileges, findings),
            suites: suites(section, findings),
            protocol: section.word("protocol", &protocols, findings),
            auth_choice: section.word("ipmi15_auth", &auth_choices, findings),
            quirks: quirks(section, findings),
            port: section
                .count("port", 1..=65_535, findings)
                .map(|port| port.map(|port| u16::try_from(port).expect("in the range"))),
            groups: groups(section, findings),
            patience,
            change_timeout,
            min_off_time,
            on_soft_timeout: section.known("on_soft_timeout", findings),
            repeat_soft_after,
            hard_after,
            settle,
            rollback_settle,
            nmi: section.flag("nmi", findings),
            power_off: section.flag("power_off", findings),
            nmi_min_interval,
            nmi_watch,
            orders_per_second: section.number("orders_per_second", 0.01..=100.0, findings),
            burst: section.count("burst", 1..=100, findings),
            keepalive,
            idle_close,
            identity: section.known("bmc_identity", findings),
            auth_failures: section.count("auth_failures", 1..=10, findings),
            auth_hold,
            breaker_after,
            breaker_retry,
        }
    }

    /// These keys, and those of `defaults` where they say nothing.
    pub(super) fn over(self, defaults: &Self) -> Self {
        macro_rules! over {
            ($($key:ident)*) => {
                Keys { $($key: self.$key.or_else(|| defaults.$key.clone()),)* }
            };
        }
        over!(
            username password bmc_key privilege suites protocol auth_choice quirks port groups patience change_timeout
            min_off_time on_soft_timeout repeat_soft_after hard_after settle rollback_settle nmi power_off nmi_min_interval
            nmi_watch orders_per_second burst keepalive idle_close identity auth_failures auth_hold
            breaker_after breaker_retry
        )
    }

    /// How to log in; `None` after a complaint.
    pub(super) fn login(
        &self,
        section: &Span,
        secrets: &mut Secrets<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<session::Settings> {
        let protocol = self.protocol(findings);
        if self.username.is_none() {
            let missing = "no username: write username = \"...\" here or in [defaults] (\"\" is the anonymous user)";
            findings.missing(section, missing);
        }
        let limit = match protocol {
            Protocol::V20 => PASSWORD_LIMIT,
            Protocol::V15(_) | Protocol::V20ThenV15 => PASSWORD_LIMIT_V15,
        };
        let password = match &self.password {
            Some(from) => secrets.password(from, limit, findings),
            None => {
                findings.missing(
                    section,
                    "no password: write password_file = \"...\" here or in [defaults]",
                );
                None
            }
        };
        let bmc_key = match &self.bmc_key {
            None => None,
            Some(from) => Some(self.key(from, secrets, findings)?),
        };
        if let (Protocol::V15(_), Some(suites)) = (protocol, &self.suites) {
            findings.warn(
                &suites.span,
                "cipher_suites mean nothing with protocol = \"1.5\"",
            );
        }
        Some(session::Settings {
            username: self.username.clone()?.value.into(),
            password: password?,
            bmc_key,
            privilege: value(&self.privilege, PrivilegeLevel::Operator),
            suites: match &self.suites {
                Some(suites) => suites.value.iter().map(|at| at.value).collect(),
                None => vec![SuiteId(17), SuiteId(3)],
            },
            protocol,
            quirks: value(&self.quirks, Quirks::NONE),
            timing: Timing {
                handshake_limit: value(&self.breaker_after, BREAKER_AFTER),
                ..Timing::default()
            },
        })
    }

    /// How a BMC is spared.
    pub(super) fn care(&self) -> Care {
        let otherwise = Care::default();
        Care {
            orders_per_second: value(&self.orders_per_second, otherwise.orders_per_second),
            burst: value(&self.burst, otherwise.burst),
            keepalive: value(&self.keepalive, otherwise.keepalive),
            idle_close: value(&self.idle_close, otherwise.idle_close),
            auth_failures: value(&self.auth_failures, otherwise.auth_failures),
            auth_hold: value(&self.auth_hold, otherwise.auth_hold),
            identity: value(&self.identity, otherwise.identity),
            breaker_retry: value(&self.breaker_retry, otherwise.breaker_retry),
        }
    }

    /// Which IPMI, with the authentication of 1.5.
    fn protocol(&self, findings: &mut Findings<'_>) -> Protocol {
        let protocol = value(&self.protocol, Protocol::V20);
        if let Some(typed) = &self.protocol
            && typed.value != Protocol::V20
        {
            findings.warn(
                &typed.span,
                "IPMI 1.5 encrypts nothing, and its codes can be guessed offline: use it where a BMC has no other",
            );
        }
        let Some(choice) = &self.auth_choice else {
            return protocol;
        };
        if let AuthChoice::Only(AuthType::None | AuthType::Password) = choice.value {
            findings.warn(
                &choice.span,
                "this authentication protects nothing: whoever is on the path can give orders",
            );
        }
        match protocol {
            Protocol::V15(_) => Protocol::V15(choice.value),
            other => {
                findings.complain(
                    &choice.span,
                    "ipmi15_auth goes with protocol = \"1.5\" alone: leave it out",
                );
                other
            }
        }
    }

    fn key(
        &self,
        from: &At<KeyFrom>,
        secrets: &mut Secrets<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<BmcKey> {
        let span = from.span.clone();
        match &from.value {
            KeyFrom::Bytes(bytes) => bmc_key(bytes, &span, findings),
            KeyFrom::File(file) => secrets.bmc_key(&At::new(file.clone(), span), findings),
        }
    }

    pub(super) fn power(&self, findings: &mut Findings<'_>) -> power::Settings {
        let usual = power::Settings::default();
        let settings = power::Settings {
            patience: value(&self.patience, usual.patience),
            change_timeout: value(&self.change_timeout, usual.change_timeout),
            min_off_time: value(&self.min_off_time, usual.min_off_time),
            settle: value(&self.settle, usual.settle),
            rollback_settle: value(&self.rollback_settle, usual.rollback_settle),
            on_soft_timeout: value(&self.on_soft_timeout, usual.on_soft_timeout),
            repeat_soft_after: self.repeat_soft_after.as_ref().map(|at| at.value),
            hard_after: self.hard_after.as_ref().map(|at| at.value),
            nmi_watch: value(&self.nmi_watch, usual.nmi_watch),
            never_off: !value(&self.power_off, true),
            ..usual
        };
        for (key, at) in [
            ("repeat_soft_after", &self.repeat_soft_after),
            ("hard_after", &self.hard_after),
        ] {
            if let Some(at) = at.as_ref().filter(|at| at.value >= settings.patience) {
                let complaint = format!(
                    "{key} comes after soft_power_off_timeout, when all is over: make it shorter"
                );
                findings.complain(&at.span, complaint);
            }
        }
        settings
    }
}

/// A place in the file.
type Span = Range<usize>;

pub(super) fn value<T: Clone>(typed: &Option<At<T>>, usual: T) -> T {
    typed.as_ref().map_or(usual, |at| at.value.clone())
}

fn username(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<String>> {
    let name = section.text("username", findings)?;
    let length = name.value.len();
    if length > USERNAME_LIMIT {
        let complaint =
            format!("the user name has {length} bytes: IPMI carries at most {USERNAME_LIMIT}");
        findings.complain(&name.span, complaint);
    }
    if name.value.contains('\0') {
        findings.complain(
            &name.span,
            "a zero byte ends a user name in the BMC: leave it out",
        );
    }
    Some(name)
}

pub(super) fn password(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<From>> {
    let file = section.nonempty("password_file", findings);
    let credential = section.nonempty("password_credential", findings);
    if let (Some(_), Some(second)) = (&file, &credential) {
        findings.complain(
            &second.span,
            "password_file is there too: write one of them",
        );
    }
    let file = file.map(|at| at.map(From::File));
    file.or(credential.map(|at| at.map(From::Credential)))
}

fn key_from(
    section: &mut Section<'_>,
    exposed: bool,
    findings: &mut Findings<'_>,
) -> Option<At<KeyFrom>> {
    let text = section.text("kg", findings);
    let digits = section.text("kg_hex", findings);
    let file = section.nonempty("kg_file", findings);
    let places = [&text, &digits, &file];
    let given: Vec<&At<String>> = places.into_iter().flatten().collect();
    if let [_, second, ..] = given[..] {
        findings.complain(
            &second.span,
            "the BMC key is given twice: write one of kg, kg_hex and kg_file",
        );
    }
    for inline in [&text, &digits].into_iter().flatten().filter(|_| exposed) {
        let complaint = "every user may read this file: put the BMC key into another one and write kg_file, \
                         or chmod 0640 this one";
        findings.complain(&inline.span, complaint);
    }
    if let Some(text) = text {
        return Some(text.map(|text| KeyFrom::Bytes(Zeroizing::new(text.into_bytes()))));
    }
    if let Some(At { value, span }) = digits {
        let bytes = hex(&Zeroizing::new(value)).map(Zeroizing::new);
        if bytes.is_none() {
            findings.complain(&span, "kg_hex is no even number of hexadecimal digits");
        }
        return Some(At::new(KeyFrom::Bytes(bytes?), span));
    }
    file.map(|at| at.map(|file| KeyFrom::File(From::File(file))))
}

fn suites(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Vec<At<SuiteId>>>> {
    const SPOKEN: &str = "write some of 17, 16, 15, 12, 11, 8, 7, 6, 3, 2, 1, 0";
    let suites = section.list("cipher_suites", findings, |element, findings| {
        let id = integer_of("a cipher suite", element, 0..=255, findings)?;
        let suite = SuiteId(u8::try_from(id.value).expect("in the range"));
        match suite.supported() {
            Err(why) => findings.complain(&id.span, format!("{why}: {SPOKEN}")),
            Ok(_) if !suite.has_integrity() => {
                let warning = format!(
                    "cipher suite {suite} protects nothing: whoever is on the path can give orders"
                );
                findings.warn(&id.span, warning);
            }
            Ok(_) => {}
        }
        Some(At::new(suite, id.span))
    })?;
    let typed = section.value("cipher_suites")?.get_ref().as_array()?;
    if typed.is_empty() {
        findings.complain(&suites.span, format!("cipher_suites is empty: {SPOKEN}"));
    }
    for (index, suite) in suites.value.iter().enumerate() {
        if suites.value[..index]
            .iter()
            .any(|before| before.value == suite.value)
        {
            findings.complain(
                &suite.span,
                format!("cipher suite {} stands there twice", suite.value),
            );
        }
    }
    Some(suites)
}

fn quirks(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Quirks>> {
    let quirks = section.list("quirks", findings, |element, findings| {
        let name = text_of("a quirk", element, findings)?;
        let known = name.value.parse::<Quirks>();
        if let Err(unknown) = &known {
            let switches = Quirk::all().map(Quirk::name);
            let presets = Quirks::presets().map(|preset| preset.name);
            findings.complain(
                &name.span,
                format!(
                    "{unknown}: {}",
                    nearest(&name.value, switches.chain(presets))
                ),
            );
        }
        Some(At::new(known.ok()?, name.span))
    })?;
    let all = quirks.map(|quirks| {
        quirks
            .into_iter()
            .map(|at| at.value)
            .fold(Quirks::NONE, Quirks::and)
    });
    Some(all)
}

fn groups(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Vec<At<String>>>> {
    let groups = section.texts("groups", findings)?;
    for group in &groups.value {
        check_group(&At::new(group.value.as_str(), group.span.clone()), findings);
    }
    Some(groups)
}
