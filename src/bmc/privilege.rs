//! What the log-in may do: asked before anything is sent, by those who only plan.

use super::Bmc;
use crate::ipmi::PrivilegeLevel;

impl Bmc {
    /// The privilege in words, where it is too low to switch the machine: that of the last session,
    /// or else the one that is configured (§22.3, chassis control wants an operator).
    pub fn too_low_to_switch(&self) -> Option<String> {
        let granted = self.session.statistics().privilege;
        let privilege = granted.unwrap_or(self.settings.login.privilege);
        (privilege < PrivilegeLevel::Operator).then(|| privilege.to_string())
    }
}
