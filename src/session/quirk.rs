//! Quirks: what single BMCs need done differently, as independent switches, and presets under the
//! names that FreeIPMI (`-W`) and ipmitool (`-o`) use, so that operators can paste what they have.

use std::fmt;
use std::str::FromStr;

/// The enumeration and the table of what configurations and people call its members, so that no
/// quirk is without a name.
macro_rules! quirks {
    ($($quirk:ident = $name:literal: $help:literal)+) => {
        /// One thing done differently. The discriminant is its bit in [`Quirks`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Quirk {
            $(#[doc = $help] $quirk,)+
        }

        /// Name and help text, in the order of the bits.
        const TABLE: &[(Quirk, &str, &str)] = &[$((Quirk::$quirk, $name, $help),)+];
    };
}

quirks! {
    OpenPrivilegeHighest = "open_priv=highest":
        "ask for the highest privilege in Open Session instead of the configured one"
    NameAndPrivilege = "name_only=off":
        "look users up by name and privilege instead of by name alone"
    // The length byte says 16, too.
    PadUser16 = "pad_user16": "fill the user name up to 16 bytes in RAKP 1 and all hashes"
    // Its length byte is that of the name.
    UserField16 = "user_field16": "send the user name in a field of 16 bytes"
    Rakp2Trim1 = "rakp2_trim1": "drop the last byte of RAKP 2's code, which is one byte too long"
    Rakp4ByIntegrity = "rakp4_by_integrity": "check RAKP 4 with the integrity algorithm"
    Rakp4Cleared = "rakp4_cleared": "ignore RAKP 4's check value with cipher suite 0"
    ConstantsOfDigestLength = "k_const=digest":
        "derive K1 and K2 from constants of the digest's length instead of 20 bytes"
    // Replies that are no errors: those of errors may have it.
    Tag0 = "tag0_ok": "take session set-up replies with tag 0"
    SessionId0 = "sid0_ok": "take replies with session id 0"
    NoChecksum = "no_checksum": "do not look at the checksums of replies"
    PadCountWithoutTrailer = "pad_count_icts":
        "count the integrity pad without the trailer's last two bytes"
    PerMessageForced = "permsg=force": "authenticate every IPMI 1.5 packet"
    SequenceSwapped = "seq_swap":
        "swap the bytes of the sequence numbers in received IPMI 1.5 packets"
    NoCloseAfterReset = "no_close_after_reset": "send no Close Session after a reset or cycle"
    Role4InRakp3 = "role4_in_rakp3": "make RAKP 3's code with the low four bits of the role"
    Role4InHashes = "role4_in_hashes":
        "make RAKP 2's code and the session key with the low four bits of the role"
    IntegrityKeySik = "integ_key=sik": "use the session integrity key in place of K1"
    Password16WithMd5 = "password16_md5": "cut passwords to 16 bytes with HMAC-MD5"
    IgnoreCapabilities = "ignore_authcap": "do not believe Get Channel Authentication Capabilities"
    NoCapabilities = "no_authcap": "do not ask for channel authentication capabilities"
    NoSetPrivilege = "no_set_privilege": "do not set the session's privilege level"
    NoCodeCheck = "no_authcode_check": "do not verify the codes of IPMI 1.5 replies"
    UnencryptedReplies = "unencrypted_ok": "take authenticated replies that are not encrypted"
    OemAuth = "oem_auth":
        "use the OEM authentication type in IPMI 1.5, with the password as the code"
    // Activate Session carries a zero challenge, and the code is MD5(challenge XOR MD5(password)).
    SupermicroAuth = "supermicro_auth": "use Supermicro's OEM authentication in IPMI 1.5"
    IntegrityKeyPassword = "integ_key=password":
        "use the password in place of K1 with HMAC-MD5-128 (ipmi_sim)"
    DummyPackets = "dummy_packets": "send ten bytes that mean nothing after each packet"
}

/// Presets: name, where the name is from, quirks, what it is for. An empty list is accepted and
/// changes nothing of ours.
const PRESETS: [(&str, &str, &[Quirk], &str); 24] = {
    use Quirk as Q;
    [
        (
            "authcap",
            "FreeIPMI",
            &[Q::IgnoreCapabilities],
            "wrong authentication capabilities (Asus P5M2, Intel X38ML, Sun 4150)",
        ),
        (
            "idzero",
            "FreeIPMI",
            &[Q::SessionId0],
            "session id 0 in replies (Tyan S2882)",
        ),
        (
            // FreeIPMI looks at such a code with this flag only; a right code harms nobody.
            "unexpectedauth",
            "FreeIPMI",
            &[],
            "codes in spite of the capabilities: always taken where they are right (Dell PE 2850, SC1425)",
        ),
        (
            "forcepermsg",
            "FreeIPMI",
            &[Q::PerMessageForced],
            "per-message authentication needed in spite of the capabilities (IBM eServer 325)",
        ),
        (
            "endianseq",
            "FreeIPMI",
            &[Q::SequenceSwapped],
            "byte-swapped sequence numbers (Sun ILOM 1 and 2)",
        ),
        (
            "noauthcodecheck",
            "FreeIPMI",
            &[Q::NoCodeCheck],
            "wrong codes in replies (Xyratex HB-F8-SRAY, Quanta Winterfell)",
        ),
        (
            "nochecksumcheck",
            "FreeIPMI",
            &[Q::NoChecksum],
            "wrong checksums in replies (Supermicro X9SCM-iiF, X9DRi-F)",
        ),
        (
            "intel20",
            "FreeIPMI",
            &[
                Q::PadUser16,
                Q::Password16WithMd5,
                Q::Role4InRakp3,
                Q::Rakp4ByIntegrity,
            ],
            "Intel SE7520AF2 with management module",
        ),
        (
            "supermicro20",
            "FreeIPMI",
            &[Q::Rakp2Trim1],
            "RAKP 2 code one byte too long (Supermicro H8QME)",
        ),
        (
            // FreeIPMI's implies `opensesspriv`, which is what we always do.
            "sun20",
            "FreeIPMI",
            &[Q::Rakp2Trim1],
            "Sun Fire 4100, 4200, 4500 with ILOM",
        ),
        (
            "opensesspriv",
            "FreeIPMI",
            &[],
            "real privilege in Open Session: what we always send (Supermicro X8DTH, Intel S2600JF, Dell C5220)",
        ),
        (
            "integritycheckvalue",
            "FreeIPMI",
            &[Q::Rakp4Cleared],
            "a check value with cipher suite 0 (Supermicro X8DTG, Intel S5500WBV)",
        ),
        (
            "ipmiping",
            "FreeIPMI",
            &[],
            "another presence ping than RMCP's: none is ever waited for",
        ),
        (
            "supermicro",
            "ipmitool",
            &[Q::OemAuth, Q::SupermicroAuth],
            "Supermicro with OEM authentication in IPMI 1.5",
        ),
        (
            "quanta",
            "ipmitool",
            &[Q::OemAuth],
            "Quanta with OEM authentication in IPMI 1.5",
        ),
        (
            "intelplus",
            "ipmitool",
            &[Q::Role4InRakp3, Q::Rakp4ByIntegrity],
            "Intel boards of the first IPMI 2.0 firmware",
        ),
        (
            "icts",
            "ipmitool",
            &[Q::PadCountWithoutTrailer],
            "the IPMI conformance test suite's reading of the integrity pad",
        ),
        (
            "i82571spt",
            "ipmitool",
            &[
                Q::NoCapabilities,
                Q::NoSetPrivilege,
                Q::UserField16,
                Q::Role4InHashes,
                Q::Role4InRakp3,
                Q::Rakp4ByIntegrity,
            ],
            "Intel 82571 network card with its own management",
        ),
        (
            "ibm",
            "ipmitool",
            &[],
            "event log texts only: nothing on the wire",
        ),
        (
            "kontron",
            "ipmitool",
            &[],
            "larger firmware upload blocks only: nothing on the wire",
        ),
        (
            "intelwv2",
            "ipmitool",
            &[Q::DummyPackets],
            "dummy packets after each packet (Intel boards whose network card notices a packet late)",
        ),
        (
            "rakp3_wrong_rolem",
            "OpenIPMI",
            &[Q::Role4InRakp3],
            "the low four bits of the role in RAKP 3",
        ),
        (
            "rmcpp_integ_sik",
            "OpenIPMI",
            &[Q::IntegrityKeySik],
            "the session integrity key in place of K1",
        ),
        ("none", "both", &[], "nothing"),
    ]
};

/// A set of quirks. Bits by hand: a crate's macro would want each name a second time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Quirks(u32);

/// A preset, as `explain` and the documentation list it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preset {
    /// The name that people know.
    pub name: &'static str,
    /// Whose name it is.
    pub source: &'static str,
    /// Our switches.
    pub quirks: Quirks,
    /// What it is for.
    pub help: &'static str,
}

/// A word that names no quirk and no preset.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no quirk and no preset")]
pub struct UnknownQuirk(pub String);

impl Quirk {
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(quirk, _, _)| *quirk)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        &TABLE[self as usize]
    }

    /// Its name in configuration files.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it does, in words.
    pub fn help(self) -> &'static str {
        self.row().2
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl Quirks {
    pub const NONE: Self = Self(0);

    /// Whether `quirk` is in the set.
    pub fn has(self, quirk: Quirk) -> bool {
        self.0 & quirk.bit() != 0
    }

    /// The set with `quirk` in it too.
    #[must_use]
    pub fn with(self, quirk: Quirk) -> Self {
        Self(self.0 | quirk.bit())
    }

    /// The set without `quirk`.
    #[must_use]
    pub fn without(self, quirk: Quirk) -> Self {
        Self(self.0 & !quirk.bit())
    }

    /// The set with all of `other` in it too.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its quirks, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::all().filter(move |quirk| self.has(*quirk))
    }

    /// The quirks behind a name of FreeIPMI, ipmitool or OpenIPMI.
    pub fn preset(name: &str) -> Option<Self> {
        Self::presets()
            .find(|preset| preset.name == name)
            .map(|preset| preset.quirks)
    }

    pub fn presets() -> impl Iterator<Item = Preset> {
        PRESETS.iter().map(|(name, source, quirks, help)| Preset {
            name,
            source,
            quirks: quirks.iter().copied().collect(),
            help,
        })
    }

    /// The set that a list of quirk and preset names makes.
    ///
    /// # Errors
    /// The first name that is neither.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownQuirk> {
        names
            .into_iter()
            .try_fold(Self::NONE, |set, name| Ok(set.and(name.parse::<Self>()?)))
    }
}

impl FromIterator<Quirk> for Quirks {
    fn from_iter<I: IntoIterator<Item = Quirk>>(quirks: I) -> Self {
        quirks.into_iter().fold(Self::NONE, Self::with)
    }
}

impl FromStr for Quirks {
    type Err = UnknownQuirk;

    /// One name: a quirk's, a preset's, or a default's (`open_priv=real`, `name_only=on`,
    /// `k_const=20`, `permsg=auto`), which is no quirk.
    fn from_str(name: &str) -> Result<Self, UnknownQuirk> {
        if let Some(quirk) = Quirk::all().find(|quirk| quirk.name() == name) {
            return Ok(Self::NONE.with(quirk));
        }
        match name {
            // These are the defaults, which a list may name to show that they were thought of.
            "open_priv=real" | "name_only=on" | "k_const=20" | "permsg=auto" => Ok(Self::NONE),
            _ => Self::preset(name).ok_or_else(|| UnknownQuirk(name.into())),
        }
    }
}

impl fmt::Display for Quirks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (at, quirk) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", quirk.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Quirks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_parses_by_its_name_and_has_a_bit_of_its_own() {
        for quirk in Quirk::all() {
            assert_eq!(quirk.name().parse(), Ok(Quirks::NONE.with(quirk)));
        }
        assert_eq!(Quirks::from_iter(Quirk::all()).iter().count(), TABLE.len());
    }

    #[test]
    fn the_names_of_freeipmi_and_ipmitool_are_known() {
        for name in "authcap idzero unexpectedauth forcepermsg endianseq noauthcodecheck nochecksumcheck intel20 \
                     supermicro20 sun20 opensesspriv integritycheckvalue ipmiping supermicro quanta intelwv2 intelplus icts \
                     ibm i82571spt kontron"
            .split_whitespace()
        {
            assert!(Quirks::preset(name).is_some(), "{name}");
        }
        assert!(
            Quirks::preset("supermicro20")
                .unwrap()
                .has(Quirk::Rakp2Trim1)
        );
        assert_eq!(Quirks::preset("nonsense"), None);
    }

    #[test]
    fn a_list_of_names_makes_one_set_and_a_wrong_one_is_named() {
        let set = Quirks::parse(["sun20", "k_const=digest", "permsg=auto"]).unwrap();
        assert_eq!(set.to_string(), "rakp2_trim1, k_const=digest");
        assert_eq!(
            Quirks::parse(["sun20", "sun21"]),
            Err(UnknownQuirk("sun21".into()))
        );
    }
}
