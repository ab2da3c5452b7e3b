//! What a request for tasks may ask: the options that every such request has, and the two bodies
//! that carry them.

use super::{BootDevice, OnBusy, OnFailure, OnSoftTimeout, Operation, TakeOver, integer, seconds};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a member says; null is as good as absent.
fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Hands the members of [`PowerOptions`] to a macro, behind what that one is given: this is the
/// only list of them.
macro_rules! with_the_options {
    ($then:ident $given:tt) => {
        $then! { $given
            /// Patience for the whole operation, from the request on; the node's own, from its turn
            /// on, where absent.
            #[serde(default, with = "seconds::maybe", skip_serializing_if = "Option::is_none")]
            timeout: Option<Duration>,
            /// What to do when the operating system does not go down in time.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            on_soft_timeout: Option<OnSoftTimeout>,
            /// Press the button once more after so long.
            #[serde(default, with = "seconds::maybe", skip_serializing_if = "Option::is_none")]
            repeat_soft_after: Option<Duration>,
            /// Switch off hard after so long.
            #[serde(default, with = "seconds::maybe", skip_serializing_if = "Option::is_none")]
            hard_after: Option<Duration>,
            /// What the machine boots from next: set, and read back, directly before it starts.
            /// What cannot be set stops the task.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            boot_device: Option<BootDevice>,
            /// Boot that in UEFI mode.
            #[serde(default, skip_serializing_if = "is_default")]
            uefi: bool,
            /// A reset or a cycle switches on a machine that is off, instead of failing.
            #[serde(default, skip_serializing_if = "is_default")]
            on_if_off: bool,
            /// What to do where a task has the node: fail (where absent), leave the node as it is,
            /// or take it over. Where all nodes of a batch are busy there is nothing to leave them
            /// out of.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            on_busy: Option<OnBusy>,
            /// Which tasks the node may be taken over from; given alone it means `on_busy`
            /// take_over.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            take_over: Option<TakeOver>,
        }
    };
}

/// The options as a type.
macro_rules! alone {
    ({ $(#[$about:meta])* $name:ident } $($(#[$of:meta])* $member:ident: $kind:ty,)*) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct $name {
            $($(#[$of])* pub $member: $kind,)*
        }
    };
}

/// A body whose own members stand beside those of the options. serde's own `flatten` would not do
/// for reading it: it cannot refuse members that nobody knows, nor say which one is wrong.
macro_rules! beside {
    (
        { $(#[$about:meta])* $name:ident { $($(#[$own_of:meta])* $own:ident: $own_kind:ty,)* } }
        $($(#[$of:meta])* $member:ident: $kind:ty,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $name {
            $($(#[$own_of])* pub $own: $own_kind,)*
            #[serde(flatten)]
            pub options: PowerOptions,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Body {
                    $($(#[$own_of])* $own: $own_kind,)*
                    $($(#[$of])* $member: $kind,)*
                }
                let Body { $($own,)* $($member,)* } = Body::deserialize(from)?;
                let options = PowerOptions { $($member,)* };
                Ok($name { $($own,)* options })
            }
        }
    };
}

with_the_options! { alone {
    /// What a request may ask beside the operation itself.
    PowerOptions
} }

with_the_options! { beside {
    /// Body of `POST /v1/tasks`.
    TaskStart {
        /// Name or uuid.
        node: String,
        /// What to do.
        operation: Operation,
    }
} }

with_the_options! { beside {
    /// Body of `POST /v1/batches`.
    BatchStart {
        /// Names, uuids, sets of names (`r1n[01-16]`) and groups (`@storage`); never empty (rule
        /// 7). The rack gets names and uuids alone, here and in `exclude`.
        nodes: Vec<String>,
        /// Of these not those, written likewise.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
        /// What to do.
        operation: Operation,
        /// How many nodes at once; 0 or absent is as many as the rack allows.
        #[serde(default, deserialize_with = "integer::or_zero", skip_serializing_if = "is_default")]
        max_parallel: u32,
        /// Time between the starts of two nodes.
        #[serde(default, with = "seconds::or_zero", skip_serializing_if = "is_default")]
        stagger: Duration,
        /// What a failure means for the nodes that have not begun.
        #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
        on_failure: OnFailure,
        /// Groups in the order in which they are taken; nodes of none of them come last.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        order: Vec<String>,
        /// Only look, log in and plan.
        #[serde(default, skip_serializing_if = "is_default")]
        dry_run: bool,
    }
} }

impl PowerOptions {
    /// What to do where a task has the node.
    pub fn on_busy(&self) -> OnBusy {
        match (self.on_busy, self.take_over) {
            (None, Some(_)) => OnBusy::TakeOver,
            (on_busy, _) => on_busy.unwrap_or_default(),
        }
    }

    /// Which tasks the node may be taken over from, where it is taken over.
    pub fn take_over(&self) -> TakeOver {
        self.take_over.unwrap_or_default()
    }
}

impl BatchStart {
    /// Such an operation on such nodes, as their own settings have it.
    pub fn new(nodes: Vec<String>, operation: Operation) -> Self {
        Self {
            nodes,
            exclude: Vec::new(),
            operation,
            options: PowerOptions::default(),
            max_parallel: 0,
            stagger: Duration::ZERO,
            on_failure: OnFailure::default(),
            order: Vec::new(),
            dry_run: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchStart, PowerOptions, TaskStart};
    use crate::model::{OnBusy, OnFailure, Operation, TakeOver};
    use std::time::Duration;

    #[test]
    fn options_stand_beside_the_other_members_of_a_body() {
        let body = r#"{"node":"n1","operation":"rebooting","timeout":90,"take_over":"suspended"}"#;
        let start: TaskStart = serde_json::from_str(body).expect("a body");
        assert_eq!(start.options.timeout, Some(Duration::from_secs(90)));
        assert_eq!(start.options.on_busy(), OnBusy::TakeOver);
        assert_eq!(start.options.take_over(), TakeOver::Suspended);
        assert_eq!(serde_json::to_string(&start).expect("JSON"), body);
        let short = BatchStart::new(vec!["n1".to_owned()], Operation::PowerOn);
        let body = r#"{"nodes":["n1"],"operation":"power on"}"#;
        assert_eq!(serde_json::to_string(&short).expect("JSON"), body);
        assert_eq!(
            serde_json::from_str::<BatchStart>(body).expect("a body"),
            short
        );
        assert_eq!(PowerOptions::default().on_busy(), OnBusy::Fail);
    }

    #[test]
    fn null_is_as_good_as_absent_and_an_unknown_member_is_refused() {
        let body = r#"{"nodes":["n1"],"operation":"power on","timeout":null,"max_parallel":null,
            "stagger":null,"on_failure":null,"on_busy":null}"#;
        let start: BatchStart = serde_json::from_str(body).expect("a body");
        assert_eq!(start.on_failure, OnFailure::Continue);
        assert_eq!(
            start,
            BatchStart::new(vec!["n1".to_owned()], Operation::PowerOn)
        );
        for bad in [
            r#"{"node":"n1","operation":"power on","hard_aftr":30}"#,
            r#"{"node":"n1","operation":"power on","dry_run":true}"#,
            r#"{"node":"n1","operation":"power on","timeout":1,"timeout":2}"#,
        ] {
            assert!(serde_json::from_str::<TaskStart>(bad).is_err(), "{bad}");
        }
    }
}
