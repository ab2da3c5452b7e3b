//! How unkind a simulated BMC and the machine behind it are: every way of misbehaving that hardware
//! has shown, as a value that may be changed while the simulation runs.
//!
//! The default is a good BMC that does as the specification says, with an operating system that
//! obeys after 5 s.

use super::host::ChassisOrder;
use super::openbmc::OpenBmc;
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// How the operating system takes a soft power off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OsMood {
    /// Goes down, power off so long after the request.
    ObeysAfter(Duration),
    /// Ignores it for ever.
    Hangs,
    /// Ignores the first `ignored` requests since it was started, obeys the next one `after` so
    /// long.
    IgnoresFirst {
        /// How many requests are lost on it.
        ignored: u32,
        /// How long it takes to go down when it obeys.
        after: Duration,
    },
    /// Goes down `down_after` the request and is on again `back_after` that, unasked.
    ComesBack {
        /// From the request to power off.
        down_after: Duration,
        /// From power off to power on.
        back_after: Duration,
    },
}

/// What a diagnostic interrupt does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NmiEffect {
    /// The operating system crashes.
    Crash {
        /// When it starts again by itself (a crash kernel that has written its dump); `None`: it
        /// stands still.
        reboots_after: Option<Duration>,
        /// Whether entries appear in the system event log.
        logged: bool,
        /// What Get System Restart Cause says after that reboot (§28.11; 0Ah is a soft reset).
        restart_cause: u8,
    },
    /// Accepted, nothing happens.
    Ignored,
    /// Refused with this completion code.
    Refused(u8),
    /// The machine powers off.
    PowersOff,
}

/// What becomes of an order that has no sense in the present power state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pointless {
    /// As §28.3 recommends: cycle, reset, interrupt and soft are refused with D5h while off; off
    /// when off and on when on are done.
    AsRecommended,
    /// Everything that changes nothing is refused with D5h (Dell's off when off).
    Refused,
    /// Accepted, and nothing happens.
    Accepted,
    /// The same, but a cycle while off is refused with D5h, and an interrupt with FFh (OpenBMC).
    AcceptedButCycle,
}

/// What becomes of a power on that arrives before the machine was off for [`Mood::min_off_time`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyOn {
    /// Accepted and lost.
    Lost,
    /// Done when the time has passed.
    Delayed,
}

/// What becomes of a request with the sequence number (rqSeq) of an earlier one in the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeated {
    /// Carried out again: most BMCs look at the session sequence number alone.
    Executed,
    /// Answered as before, not carried out again.
    AnsweredAgain,
    /// Refused with CFh, duplicate request.
    RefusedAsDuplicate,
}

/// A completion code instead of an order's execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub order: ChassisOrder,
    /// The code, C0h busy for example.
    pub code: u8,
    /// How often; `None` is for ever.
    pub times: Option<u32>,
}

/// A completion code instead of any command's execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandRefusal {
    /// Network function.
    pub net_fn: u8,
    /// Command number.
    pub command: u8,
    pub code: u8,
    /// So many are carried out before.
    pub after: u32,
    /// How often it is refused then.
    pub times: u32,
}

/// What is answered instead of a command's answer, with 00h.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherAnswer {
    /// Network function.
    pub net_fn: u8,
    /// Command number.
    pub command: u8,
    pub data: Vec<u8>,
}

/// How the system event log behaves. The default is as the specification says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogMood {
    /// More bytes at once than so many are refused with CAh; pieces need a reservation.
    pub most_bytes: Option<u8>,
    /// The entry that follows the last one is the first one.
    pub ring: bool,
    /// Erasing takes so long; meanwhile Clear SEL says "in progress".
    pub erasing_takes: Duration,
    /// Clear SEL says that it is done, and the entries stay.
    pub keeps_entries: bool,
    /// So many bytes too many follow each entry, or each piece of one.
    pub trailing_bytes: usize,
    /// The first entry of a cleared log says that it was cleared.
    pub notes_clearing: bool,
}

/// What becomes of boot flags that are set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BootMood {
    /// They are kept.
    #[default]
    Kept,
    /// Another device is kept: its selector.
    OtherDevice(u8),
    /// Nothing is kept.
    Forgotten,
    /// They are for the next boot, whatever was asked for.
    OnceOnly,
}

/// Garbage sent unasked to everybody who has ever spoken to the BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Babble {
    /// The time between two packets.
    pub every: Duration,
}

/// Departures from the specification in the BMC's firmware, each seen somewhere. All off by
/// default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quirks {
    /// Error replies to session set-up carry tag 0 and session id 0 (OpenBMC).
    pub error_replies_zeroed: bool,
    /// Good replies to session set-up carry tag 0 too (OpenBMC on POWER9).
    pub tag_always_zero: bool,
    /// Error replies to session set-up are cut to so many bytes (1, 2 and 7 were seen; the
    /// specification has 8).
    pub short_error_replies: Option<usize>,
    /// Get Chassis Status has a fifth byte.
    pub extra_status_byte: bool,
    /// One byte too many after packets of IPMI 1.5 (OpenBMC, and others for some lengths).
    pub pad_1_5: bool,
    /// K1 and K2 from constants as long as the digest instead of 20 bytes (OpenIPMI's BMC).
    pub key_constants_as_long_as_digest: bool,
    /// The code of RAKP 2 is one byte too long (Peppercon; FreeIPMI's `supermicro20`).
    pub rakp2_extra_byte: bool,
    /// RAKP 4 is keyed as the integrity algorithm says (FreeIPMI's `intel20`, ipmitool's
    /// `intelplus`).
    pub rakp4_by_integrity: bool,
    /// With HMAC-MD5 the password counts to its 16th byte (`intel20`).
    pub password16_with_md5: bool,
    /// RAKP 3 is checked without the name-only bit and the name's padding (`intel20`).
    pub rakp3_level_only: bool,
    /// User names must be padded with zeros to 16 bytes (`intel20`).
    pub padded_user_names: bool,
    /// The level in Open Session is the one that keys are made from, instead of the one in RAKP 1
    /// (`opensesspriv`).
    pub level_of_open_session: bool,
    /// A lookup by user and level finds users with exactly that limit only (OpenBMC).
    pub exact_level_lookup: bool,
    /// The integrity key is the session key instead of K1.
    pub integrity_key_is_session_key: bool,
    /// The integrity pad is counted without its two companions (ipmitool's `icts`).
    pub icts_pad: bool,
    /// 16 pad bytes of AES where none is needed (OpenBMC).
    pub aes_pad_16_for_0: bool,
    /// Checksums of replies are wrong (`nochecksumcheck`).
    pub wrong_checksums: bool,
    /// Session id 0 in replies of IPMI 1.5 sessions (`idzero`).
    pub session_id_zero_1_5: bool,
    /// Wrong codes in replies of IPMI 1.5 sessions (`noauthcodecheck`).
    pub wrong_codes_1_5: bool,
    /// The headers that the BMC sends in IPMI 1.5 sessions have byte-swapped sequence numbers
    /// (`endianseq`).
    pub swapped_sequence_1_5: bool,
    /// With `swapped_sequence_1_5`: the number that Activate Session asks the BMC to begin with is
    /// read swapped, too.
    pub swapped_start_1_5: bool,
    /// Per-message authentication is said to be off, but replies carry codes all the same
    /// (`unexpectedauth`).
    pub unasked_codes_1_5: bool,
    /// Per-message authentication is said to be off, but packets without codes are dropped
    /// (`forcepermsg`).
    pub needed_codes_1_5: bool,
    /// OEM is the only authentication type that is offered (ipmitool's `quanta`, and `supermicro`
    /// with the next).
    pub oem_only_1_5: bool,
    /// The code of OEM authentication is MD5(challenge XOR MD5(password)) in every packet, and
    /// Activate Session carries no challenge (`supermicro`).
    pub challenge_codes_1_5: bool,
    /// RAKP 4 carries a value though there is no authentication (`integritycheckvalue`).
    pub rakp4_value_without_authentication: bool,
    /// RAKP 1 with the name-only bit is refused: no such role.
    pub no_name_only_lookup: bool,
    /// RAKP 2 and the session key are made without the name-only bit (ipmitool's `i82571spt`, with
    /// `rakp3_level_only`).
    pub hashes_level_only: bool,
    /// RAKP 1 is taken with a name field of 16 bytes only, whatever the name's length
    /// (`i82571spt`).
    pub user_field_16: bool,
    /// There is no Set Session Privilege Level: silence; a session begins with its highest level
    /// (`i82571spt`).
    pub no_set_privilege: bool,
    /// Replies are enciphered and carry no integrity code, though the suite has both (OpenBMC of
    /// 2018).
    pub unsigned_replies: bool,
    /// Replies are authenticated and not enciphered, though the suite does both.
    pub plain_replies: bool,
    /// After a reset or cycle of the machine, Close Session is not answered (Intel Tiger 4).
    pub silent_close_after_reset: bool,
    /// Cipher suite records leave out algorithms that are "none".
    pub short_cipher_records: bool,
    /// Every second outbound session sequence number is skipped (a shared network port).
    pub skips_sequence_numbers: bool,
    /// Get Channel Authentication Capabilities refuses the bit that asks for IPMI 2.0 data with
    /// CCh.
    pub refuses_extended_capabilities: bool,
    /// Get Channel Authentication Capabilities names no authentication type and no users
    /// (`authcap`).
    pub empty_capabilities: bool,
    /// Open Session with this cipher suite is met with silence.
    pub silent_suite: Option<u8>,
    /// RAKP 2 of this cipher suite is made with something else than the password (an update of the
    /// firmware that kept what the other suites need only).
    pub mismatching_suite: Option<u8>,
    /// RAKP 1 and 3 of a session that is open already are answered: the former sets the session
    /// back to level user, the latter ruins its keys (OpenBMC).
    pub answers_copies_of_rakp: bool,
    /// Any level is taken in Open Session (OpenBMC).
    pub unchecked_open_level: bool,
    /// The enterprise number in pongs has its least significant byte first (OpenBMC).
    pub pong_little_endian: bool,
    /// What a controller behind the BMC answered is in the reply to Send Message, instead of
    /// following it.
    pub bridged_answer_inside: bool,
}

/// How a BMC, its firmware and its machine behave now.
#[derive(Clone, PartialEq, Debug)]
pub struct Mood {
    /// The operating system's ear for the power button.
    pub os: OsMood,
    /// From power on or reset until the operating system listens.
    pub boot_time: Duration,
    /// From the order on to power on.
    pub on_delay: Duration,
    /// From the order off to power off.
    pub off_delay: Duration,
    /// How long a power cycle leaves the machine off.
    pub cycle_off_time: Duration,
    /// How long the machine must have been off for an order on to be taken.
    pub min_off_time: Duration,
    /// What becomes of an order on before that.
    pub early_on: EarlyOn,
    /// How long the power state that is shown lags behind the machine.
    pub stale_for: Duration,
    /// What a diagnostic interrupt does.
    pub nmi: NmiEffect,
    /// What becomes of orders without sense.
    pub pointless: Pointless,
    /// An order off while the machine is off leaves an order on that is under way alone.
    pub heedless: bool,
    /// Refusals of chassis orders: the first that fits counts.
    pub refusals: Vec<Refusal>,
    /// Refuses every chassis command with this code until then, as a BMC does while its other half
    /// starts.
    pub not_ready: Option<(Instant, u8)>,
    /// Get Device ID says that the BMC is not available, as during its start.
    pub says_unavailable: bool,
    /// Refusals of any commands.
    pub command_refusals: Vec<CommandRefusal>,
    /// A command that is answered with something else, and not carried out.
    pub other_answer: Option<OtherAnswer>,
    /// One request in a session, by its number ([`super::Counters::requests`], the first one is 1),
    /// that is answered with this code instead of being carried out.
    pub refused_request: Option<(u64, u8)>,
    /// One request by its number: where it asks for the power state, it is told the other one.
    pub wrong_reading: Option<u64>,
    /// How the event log behaves.
    pub log: LogMood,
    /// What becomes of boot flags that are set.
    pub boot: BootMood,
    /// What Get Power Reading (DCMI) answers instead of the reading.
    pub power_reading: Option<Vec<u8>>,
    /// Set Power Restore Policy is answered well and changes nothing.
    pub keeps_policy: bool,
    /// No replay protection: every copy of a packet is carried out and answered.
    pub executes_copies: bool,
    /// What becomes of requests with a used rqSeq in a fresh packet.
    pub repeated: Repeated,
    /// The first reply to every command in a session is lost; a resent request is answered.
    pub loses_first_reply: bool,
    /// From a request to its reply.
    pub reply_delay: Duration,
    /// The same for commands about the machine, beside that; the machine does them at once.
    pub chassis_delay: Duration,
    /// Replies come from this address, not from the one that was asked.
    pub answers_from: Option<SocketAddr>,
    /// RAKP 4, and all answers inside of sessions, get lost.
    pub silent_sessions: bool,
    /// What is OpenBMC's.
    pub openbmc: OpenBmc,
    /// Hears nothing until then.
    pub deaf_until: Option<Instant>,
    /// Hears nothing at all.
    pub dead: bool,
    /// The session table is full: this status answers Open Session (01h or 0Bh), Activate Session
    /// says 81h.
    pub session_table_full: Option<u8>,
    /// Sessions are forgotten without a word so long after they were opened.
    pub session_life: Option<Duration>,
    /// Answers presence pings, and nothing else.
    pub pings_only: bool,
    /// Does not answer presence pings.
    pub ignores_ping: bool,
    /// Does not answer Get Channel Authentication Capabilities.
    pub ignores_capabilities: bool,
    /// Does not answer Get Channel Cipher Suites.
    pub ignores_cipher_suites: bool,
    /// So many times a level above user is refused with 81h.
    pub level_refusals: u32,
    /// Does not answer Close Session.
    pub ignores_close: bool,
    /// How long the BMC is away after a cold or warm reset, or after [`super::Bmc::reboot_bmc`].
    pub reset_takes: Duration,
    /// A datagram is seen when the next one arrives, as if the network card said of each that it
    /// was there only then; pings the card answers by itself. A guess at what ipmitool's `intelwv2`
    /// is for, from the packets that it sends.
    pub sees_late: bool,
    /// More commands in one second than so many make the BMC restart.
    pub dies_above: Option<u32>,
    /// More commands in one second than so many are answered with C0h, node busy.
    pub busy_above: Option<u32>,
    /// Sends garbage unasked.
    pub babble: Option<Babble>,
    /// Log-ins with a wrong password after which the user is locked out, and for how long.
    pub lock_out: Option<(u32, Duration)>,
    /// Departures from the specification.
    pub quirks: Quirks,
}

impl Default for Mood {
    fn default() -> Self {
        Self {
            os: OsMood::ObeysAfter(Duration::from_secs(5)),
            boot_time: Duration::ZERO,
            on_delay: Duration::ZERO,
            off_delay: Duration::ZERO,
            cycle_off_time: Duration::from_secs(1),
            min_off_time: Duration::ZERO,
            early_on: EarlyOn::Lost,
            stale_for: Duration::ZERO,
            nmi: NmiEffect::Crash {
                reboots_after: Some(Duration::from_secs(10)),
                logged: true,
                restart_cause: 0x0A,
            },
            pointless: Pointless::AsRecommended,
            heedless: false,
            refusals: Vec::new(),
            not_ready: None,
            says_unavailable: false,
            command_refusals: Vec::new(),
            other_answer: None,
            refused_request: None,
            wrong_reading: None,
            log: LogMood::default(),
            boot: BootMood::default(),
            power_reading: None,
            keeps_policy: false,
            executes_copies: false,
            repeated: Repeated::Executed,
            loses_first_reply: false,
            reply_delay: Duration::ZERO,
            chassis_delay: Duration::ZERO,
            answers_from: None,
            silent_sessions: false,
            openbmc: OpenBmc::default(),
            deaf_until: None,
            dead: false,
            session_table_full: None,
            session_life: None,
            pings_only: false,
            ignores_ping: false,
            ignores_capabilities: false,
            ignores_cipher_suites: false,
            level_refusals: 0,
            ignores_close: false,
            reset_takes: Duration::from_secs(60),
            sees_late: false,
            dies_above: None,
            busy_above: None,
            babble: None,
            lock_out: None,
            quirks: Quirks::default(),
        }
    }
}

impl Mood {
    /// The code that refuses the command now, used up by one.
    pub(super) fn take_command_refusal(&mut self, net_fn: u8, command: u8) -> Option<u8> {
        let fits = |refusal: &&mut CommandRefusal| {
            (refusal.net_fn, refusal.command) == (net_fn, command) && refusal.times > 0
        };
        let refusal = self.command_refusals.iter_mut().find(fits)?;
        if refusal.after > 0 {
            refusal.after -= 1;
            return None;
        }
        refusal.times -= 1;
        Some(refusal.code)
    }

    /// The code that refuses `order` now, used up by one.
    pub(super) fn take_refusal(&mut self, order: ChassisOrder) -> Option<u8> {
        let place = self.refusals.iter().position(|refusal| {
            refusal.order == order && refusal.times.is_none_or(|times| times > 0)
        })?;
        let refusal = &mut self.refusals[place];
        if let Some(times) = &mut refusal.times {
            *times -= 1;
        }
        Some(refusal.code)
    }
}
