//! Ironic's microversions: which one a request speaks, and the headers that say which ones there
//! are.

use http::HeaderMap;
use std::fmt;

/// A microversion, such as 1.27.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    pub minor: u32,
}

/// The lowest that we speak, and the one of a request that names none.
pub(crate) const MINIMUM: Version = Version::new(1);
/// The highest. Beyond it is 406: a client that believes us would expect members that we do not
/// have.
pub(crate) const MAXIMUM: Version = Version::new(31);

/// Names of nodes in paths and bodies.
pub(crate) const NAMES: Version = Version::new(5);
/// `fields=`.
pub(crate) const FIELDS: Version = Version::new(8);
/// The filter `provision_state`.
pub(crate) const PROVISION_FILTER: Version = Version::new(9);
/// `raid_config` in states.
pub(crate) const RAID: Version = Version::new(12);
/// The filter `driver`.
pub(crate) const DRIVER_FILTER: Version = Version::new(16);
/// The filter `resource_class`.
pub(crate) const RESOURCE_CLASS: Version = Version::new(21);
/// Soft targets, `timeout`, and our `supported_power_states`.
pub(crate) const SOFT_POWER: Version = Version::new(27);
/// `management/inject_nmi`.
pub(crate) const INJECT_NMI: Version = Version::new(29);

/// Ironic's own header.
pub(crate) const HEADER: &str = "x-openstack-ironic-api-version";
/// The header of all services, which wins.
pub(crate) const STANDARD_HEADER: &str = "openstack-api-version";
/// Our service's names in the standard header.
const SERVICE: &str = "baremetal";

impl Version {
    /// 1.`minor`.
    pub const fn new(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// The version that the headers ask for.
    ///
    /// # Errors
    /// The words of the 406 answer.
    pub fn asked(headers: &HeaderMap) -> Result<Self, String> {
        let own = || {
            let text = headers.get(HEADER)?;
            Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
        };
        let Some(text) = standard(headers).or_else(own) else {
            return Ok(MINIMUM);
        };
        let text = text.trim();
        if text.is_empty() {
            return Ok(MINIMUM);
        }
        if text.eq_ignore_ascii_case("latest") {
            return Ok(MAXIMUM);
        }
        let range = format!("The supported version range is: [{MINIMUM}, {MAXIMUM}].");
        let Some(version) = parse(text) else {
            return Err(format!(
                "Invalid version '{text}': not two numbers such as 1.27. {range}"
            ));
        };
        if version.major != MINIMUM.major {
            return Err(format!(
                "Mutually exclusive versions requested. Version {version} requested but not supported by this service. {range}"
            ));
        }
        if version < MINIMUM || version > MAXIMUM {
            return Err(format!(
                "Version {version} was requested but the minor version is not supported by this service. {range}"
            ));
        }
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Our entry of the standard header: a list over commas, other services' and malformed entries
/// skipped.
fn standard(headers: &HeaderMap) -> Option<String> {
    for header in headers.get_all(STANDARD_HEADER) {
        let text = String::from_utf8_lossy(header.as_bytes()).into_owned();
        for entry in text.split(',') {
            let mut words = entry.split_whitespace();
            if let (Some(service), Some(version), None) = (words.next(), words.next(), words.next())
                && service.eq_ignore_ascii_case(SERVICE)
            {
                return Some(version.to_owned());
            }
        }
    }
    None
}

/// Two numbers with a point between them; leading zeros and blanks around the numbers are
/// tolerated.
fn parse(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    let number = |text: &str| {
        let text = text.trim();
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().unwrap_or(u32::MAX))
    };
    Some(Version {
        major: number(major)?,
        minor: number(minor)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        Version::asked(&map).map(|version| version.to_string())
    }

    #[test]
    fn a_request_that_names_no_version_of_ours_speaks_the_lowest() {
        for headers in [
            &[][..],
            &[(HEADER, "")],
            &[(HEADER, "  ")],
            &[(STANDARD_HEADER, "compute 2.90")],
            &[(STANDARD_HEADER, "baremetal")],
            &[(STANDARD_HEADER, "baremetal 1.9 1.10")],
        ] {
            assert_eq!(asked(headers), Ok("1.1".into()), "{headers:?}");
        }
    }

    #[test]
    fn the_standard_header_wins_and_latest_is_the_highest() {
        for (headers, version) in [
            (&[(HEADER, "1.27")][..], "1.27"),
            (
                &[(HEADER, "1.8"), (STANDARD_HEADER, "baremetal 1.27")],
                "1.27",
            ),
            (
                &[
                    (HEADER, "1.8"),
                    (STANDARD_HEADER, "compute 2.1, baremetal 1.29"),
                ],
                "1.29",
            ),
            (&[(HEADER, "1.8"), (STANDARD_HEADER, "compute 2.1")], "1.8"),
            (&[(HEADER, "LaTesT")], "1.31"),
            (&[(STANDARD_HEADER, "Baremetal latest")], "1.31"),
            (&[(HEADER, " 01.0027 ")], "1.27"),
        ] {
            assert_eq!(asked(headers), Ok(version.into()), "{headers:?}");
        }
    }

    #[test]
    fn a_version_that_we_do_not_speak_is_refused_with_the_range() {
        for text in [
            "1.0",
            "1.32",
            "1.115",
            "2.1",
            "0.9",
            "2",
            "abc",
            "1.27.1",
            "1.-1",
            "1.99999999999",
        ] {
            let complaint = asked(&[(HEADER, text)]).expect_err(text);
            assert!(complaint.contains("[1.1, 1.31]"), "{text}: {complaint}");
        }
    }
}
