//! The parts of phases between their running and their stored form.

use super::phase::{
    Aim, Fate, Leg, LogMark, Look, Next, Notes, Question, Restart, Signs, SlowLook, Soft, Then,
};
use crate::bmc::vocabulary::OrderId;
use crate::power::sequence::phase as running;

impl From<running::Next> for Next {
    fn from(running: running::Next) -> Self {
        match running {
            running::Next::At(age) => Self::At(age.into()),
            running::Next::Out(id) => Self::Out(id.0),
        }
    }
}

impl From<Next> for running::Next {
    fn from(stored: Next) -> Self {
        match stored {
            Next::At(age) => Self::At(age.into()),
            Next::Out(id) => Self::Out(OrderId(id)),
        }
    }
}

impl From<running::SlowLook> for SlowLook {
    fn from(running: running::SlowLook) -> Self {
        match running {
            running::SlowLook::At(elapsed) => Self::At(elapsed),
            running::SlowLook::Out(id) => Self::Out(id.0),
        }
    }
}

impl From<SlowLook> for running::SlowLook {
    fn from(stored: SlowLook) -> Self {
        match stored {
            SlowLook::At(elapsed) => Self::At(elapsed),
            SlowLook::Out(id) => Self::Out(OrderId(id)),
        }
    }
}

impl From<running::Question> for Question {
    fn from(running: running::Question) -> Self {
        match running {
            running::Question::Power => Self::Power,
            running::Question::Cause => Self::Cause,
            running::Question::LogInfo => Self::LogInfo,
            running::Question::LogEntry { id, walked } => Self::LogEntry { id, walked },
        }
    }
}

impl From<Question> for running::Question {
    fn from(stored: Question) -> Self {
        match stored {
            Question::Power => Self::Power,
            Question::Cause => Self::Cause,
            Question::LogInfo => Self::LogInfo,
            Question::LogEntry { id, walked } => Self::LogEntry { id, walked },
        }
    }
}

impl From<&running::Then> for Then {
    fn from(running: &running::Then) -> Self {
        match running {
            running::Then::Abort { by, error } => Self::Abort {
                by: by.clone(),
                error: *error,
            },
            running::Then::Cancel { by } => Self::Cancel { by: by.clone() },
            running::Then::Rollback { by } => Self::Rollback { by: by.clone() },
        }
    }
}

impl From<Then> for running::Then {
    fn from(stored: Then) -> Self {
        match stored {
            Then::Abort { by, error } => Self::Abort { by, error },
            Then::Cancel { by } => Self::Cancel { by },
            Then::Rollback { by } => Self::Rollback { by },
        }
    }
}

impl From<&running::Aim> for Aim {
    fn from(running: &running::Aim) -> Self {
        match running {
            running::Aim::Final => Self::Final,
            running::Aim::OffThenOn => Self::OffThenOn,
            running::Aim::Escalated => Self::Escalated,
            running::Aim::Return { by } => Self::Return { by: by.clone() },
        }
    }
}

impl From<Aim> for running::Aim {
    fn from(stored: Aim) -> Self {
        match stored {
            Aim::Final => Self::Final,
            Aim::OffThenOn => Self::OffThenOn,
            Aim::Escalated => Self::Escalated,
            Aim::Return { by } => Self::Return { by },
        }
    }
}

impl From<&running::Fate> for Fate {
    fn from(running: &running::Fate) -> Self {
        match running {
            running::Fate::Accepted => Self::Accepted,
            running::Fate::Unknown { why } => Self::Unknown { why: why.clone() },
            running::Fate::Shown { how } => Self::Shown { how: how.clone() },
        }
    }
}

impl From<Fate> for running::Fate {
    fn from(stored: Fate) -> Self {
        match stored {
            Fate::Accepted => Self::Accepted,
            Fate::Unknown { why } => Self::Unknown { why },
            Fate::Shown { how } => Self::Shown { how },
        }
    }
}

impl From<&running::Look> for Look {
    fn from(running: &running::Look) -> Self {
        let running::Look { looks, next } = running;
        Self {
            looks: *looks,
            next: (*next).into(),
        }
    }
}

impl From<Look> for running::Look {
    fn from(stored: Look) -> Self {
        let Look { looks, next } = stored;
        Self {
            looks,
            next: next.into(),
        }
    }
}

impl From<&running::Leg> for Leg {
    fn from(running: &running::Leg) -> Self {
        let running::Leg {
            to,
            aim,
            until,
            steady,
            setbacks,
            failures,
            refused,
        } = running;
        Self {
            to: (*to).into(),
            aim: aim.into(),
            until: (*until).into(),
            steady: *steady,
            setbacks: *setbacks,
            failures: *failures,
            refused: refused.clone(),
        }
    }
}

impl From<Leg> for running::Leg {
    fn from(stored: Leg) -> Self {
        let Leg {
            to,
            aim,
            until,
            steady,
            setbacks,
            failures,
            refused,
        } = stored;
        Self {
            to: to.into(),
            aim: aim.into(),
            until: until.into(),
            steady,
            setbacks,
            failures,
            refused,
        }
    }
}

impl From<&running::Soft> for Soft {
    fn from(running: &running::Soft) -> Self {
        let running::Soft {
            until,
            hard_at,
            due,
            accepted,
            setbacks,
            failures,
            refused,
        } = running;
        Self {
            until: (*until).into(),
            hard_at: hard_at.map(Into::into),
            due: *due,
            accepted: *accepted,
            setbacks: *setbacks,
            failures: *failures,
            refused: refused.clone(),
        }
    }
}

impl From<Soft> for running::Soft {
    fn from(stored: Soft) -> Self {
        let Soft {
            until,
            hard_at,
            due,
            accepted,
            setbacks,
            failures,
            refused,
        } = stored;
        Self {
            until: until.into(),
            hard_at: hard_at.map(Into::into),
            due,
            accepted,
            setbacks,
            failures,
            refused,
        }
    }
}

impl From<&running::Notes> for Notes {
    fn from(running: &running::Notes) -> Self {
        let running::Notes { cause, log, unsure } = running;
        Self {
            cause: cause.map(Into::into),
            log: log.as_ref().map(Into::into),
            unsure: *unsure,
        }
    }
}

impl From<Notes> for running::Notes {
    fn from(stored: Notes) -> Self {
        let Notes { cause, log, unsure } = stored;
        Self {
            cause: cause.map(Into::into),
            log: log.map(Into::into),
            unsure,
        }
    }
}

impl From<&running::LogMark> for LogMark {
    fn from(running: &running::LogMark) -> Self {
        let running::LogMark {
            entries,
            last_added,
            last,
            complete,
        } = running;
        Self {
            entries: *entries,
            last_added: *last_added,
            last: *last,
            complete: *complete,
        }
    }
}

impl From<LogMark> for running::LogMark {
    fn from(stored: LogMark) -> Self {
        let LogMark {
            entries,
            last_added,
            last,
            complete,
        } = stored;
        Self {
            entries,
            last_added,
            last,
            complete,
        }
    }
}

impl From<&running::Signs> for Signs {
    fn from(running: &running::Signs) -> Self {
        let running::Signs {
            effects,
            crash,
            restart,
            delivered,
            entries,
        } = running;
        Self {
            effects: effects.clone(),
            crash: *crash,
            restart: match restart {
                running::Restart::NotSeen => None,
                running::Restart::Cause => Some(Restart::Cause),
                running::Restart::Entry => Some(Restart::Entry),
                running::Restart::Off => Some(Restart::Off),
            },
            delivered: delivered.clone(),
            entries: entries.clone(),
        }
    }
}

impl From<Signs> for running::Signs {
    fn from(stored: Signs) -> Self {
        let Signs {
            effects,
            crash,
            restart,
            delivered,
            entries,
        } = stored;
        Self {
            effects,
            crash,
            restart: match restart {
                None => running::Restart::NotSeen,
                Some(Restart::Cause) => running::Restart::Cause,
                Some(Restart::Entry) => running::Restart::Entry,
                Some(Restart::Off) => running::Restart::Off,
            },
            delivered,
            entries,
        }
    }
}
