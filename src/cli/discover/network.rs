//! The addresses of a network: `10.0.1.0/24`, `10.0.1.7`, `fd00::/120`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// No more addresses are asked in one go.
const LIMIT: usize = 65_536;

/// A network as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    first: IpAddr,
    bits: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("'{text}' is no network: it looks like 10.0.1.0/24, or like one address");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| form())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| form())?,
        };
        if bits > most {
            return Err(form());
        }
        if most - bits > 16 {
            return Err(format!(
                "{text} has more than {LIMIT} addresses: name smaller networks (/{} and above)",
                most - 16
            ));
        }
        Ok(Self { first, bits })
    }
}

impl Network {
    /// Its addresses; of an IPv4 network those of hosts, without its own and that of all.
    fn hosts(self) -> Vec<IpAddr> {
        match self.first {
            IpAddr::V4(first) => {
                let host_bits = 32 - self.bits;
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                let from = u32::from(first) & mask;
                let count = 1_u64 << host_bits;
                let all = (0..count).map(|n| from + u32::try_from(n).unwrap_or(0));
                let ends = usize::from(host_bits > 1);
                let length = usize::try_from(count).unwrap_or(0);
                let hosts = all.skip(ends).take(length - 2 * ends);
                hosts.map(|bits| Ipv4Addr::from(bits).into()).collect()
            }
            IpAddr::V6(first) => {
                let host_bits = 128 - self.bits;
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                let from = u128::from(first) & mask;
                let all = (0..1_u128 << host_bits).map(|n| from + n);
                all.map(|bits| Ipv6Addr::from(bits).into()).collect()
            }
        }
    }
}

/// The addresses of some networks, each once, in order.
///
/// # Errors
/// Too many.
pub(super) fn addresses(networks: &[Network]) -> Result<Vec<IpAddr>, String> {
    let mut all = BTreeSet::new();
    for network in networks {
        all.extend(network.hosts());
    }
    match all.len() > LIMIT {
        true => Err(format!(
            "these are more than {LIMIT} addresses: ask for fewer at a time"
        )),
        false => Ok(all.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let network = text.parse().expect("a network");
        let all = addresses(&[network]).expect("few");
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_network_has_the_addresses_of_its_hosts() {
        assert_eq!(of("10.0.1.7"), ["10.0.1.7"]);
        assert_eq!(of("10.0.1.6/31"), ["10.0.1.6", "10.0.1.7"]);
        assert_eq!(of("10.0.1.5/30"), ["10.0.1.5", "10.0.1.6"]);
        assert_eq!(of("10.0.1.0/24").len(), 254);
        assert_eq!(
            of("fd00::/126"),
            ["fd00::", "fd00::1", "fd00::2", "fd00::3"]
        );
    }

    #[test]
    fn what_is_no_network_or_too_large_is_refused() {
        for bad in [
            "",
            "10.0.1",
            "10.0.1.0/33",
            "10.0.0.0/8",
            "fd00::/64",
            "bmc7",
            "10.0.1.0/",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
