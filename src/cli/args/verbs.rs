//! The verbs in the groups in which the help shows them, each with what it does in a few words and
//! three examples.

/// A group of verbs: its heading, and the verbs in the order of showing.
pub(super) type Group = (&'static str, &'static [Entry]);

/// A verb, what it does in a few words, and three examples.
pub(super) type Entry = (&'static str, &'static str, [&'static str; 3]);

/// What follows a verb that is a noun, with three examples each.
pub(super) const INNER: &[(&str, [&str; 3])] = &[
    (
        "bmc info",
        [
            "bmc info r1n03",
            "bmc info @storage -b",
            "bmc info --all -o json",
        ],
    ),
    (
        "bmc reset",
        [
            "bmc reset r1n03 --cold",
            "bmc reset r1n03 --warm",
            "bmc reset r1n[01-04] --cold --yes",
        ],
    ),
    (
        "bmc trace",
        [
            "bmc trace r1n03",
            "bmc trace r1n03 -o json",
            "bmc trace r1n03 --rack r2",
        ],
    ),
    (
        "bmc accept",
        [
            "bmc accept r1n03",
            "bmc accept r1n[03,07]",
            "bmc accept r1n03 --yes",
        ],
    ),
    (
        "chassis status",
        [
            "chassis status r1n03",
            "chassis status @storage -b",
            "chassis status --all -o json",
        ],
    ),
    (
        "chassis policy",
        [
            "chassis policy r1n03",
            "chassis policy --all -b",
            "chassis policy r1n[01-16] --set previous",
        ],
    ),
    (
        "sel list",
        [
            "sel list r1n03",
            "sel list r1n[01-04] -n 5",
            "sel list @storage -o json",
        ],
    ),
    (
        "sel clear",
        [
            "sel clear r1n03",
            "sel clear r1n[01-04]",
            "sel clear @storage --yes",
        ],
    ),
    (
        "ha status",
        ["ha status", "ha status -o json", "ha status --rack r2"],
    ),
    (
        "ha handover",
        [
            "ha handover",
            "ha handover --wait",
            "ha handover --to mgmt2",
        ],
    ),
    (
        "audit verify",
        [
            "audit verify",
            "audit verify -o json",
            "audit verify --rack r2",
        ],
    ),
];

/// All of them.
pub(super) const GROUPS: &[Group] = &[
    (
        "Look",
        &[
            (
                "status",
                "power states, and how old each reading is",
                [
                    "status",
                    "status r1n[01-16] --fresh",
                    "status @storage -o json",
                ],
            ),
            (
                "watch",
                "the rack on a full screen, as it changes",
                ["watch", "watch @compute", "watch r1n[01-04] --interval 5s"],
            ),
            (
                "events",
                "what happens, as it happens",
                ["events", "events r1n03 --idle 5m", "events -o json"],
            ),
            (
                "explain",
                "all that is known of a BMC, and why",
                [
                    "explain r1n03",
                    "explain r1n[01-04] -o json",
                    "explain @storage",
                ],
            ),
            (
                "history",
                "what happened to nodes, newest first",
                [
                    "history r1n03",
                    "history r1n[01-04] -n 5",
                    "history @storage -o json",
                ],
            ),
            (
                "check",
                "for Nagios: one line, its own exit codes",
                ["check", "check @compute --expect on", "check --max-age 10m"],
            ),
            (
                "wait",
                "until nodes are on, or off; does nothing about it",
                [
                    "wait r1n03 --off",
                    "wait @compute --on --timeout 10m",
                    "wait r1n[01-04] --off -q",
                ],
            ),
        ],
    ),
    (
        "Power",
        &[
            (
                "on",
                "switch on",
                [
                    "on r1n03",
                    "on r1n[01-16] --stagger 2s",
                    "on @storage --dry-run",
                ],
            ),
            (
                "off",
                "switch off hard; softly with --soft",
                [
                    "off r1n03",
                    "off r1n03 --take-over",
                    "off @compute --soft --hard-after 10m",
                ],
            ),
            (
                "soft",
                "ask the operating system to shut down",
                [
                    "soft r1n03",
                    "soft r1n[01-16] --timeout 20m",
                    "soft r1n03 --hard-after 5m",
                ],
            ),
            (
                "reboot",
                "off and on again; softly with --soft",
                [
                    "reboot r1n03",
                    "reboot --soft r1n[01-04]",
                    "reboot --soft @compute --max-parallel 4",
                ],
            ),
            (
                "boot",
                "start, from another device with --from",
                [
                    "boot r1n03 --from pxe",
                    "boot r1n03 --from disk --uefi",
                    "boot r1n[01-04] --from pxe --soft",
                ],
            ),
            (
                "reset",
                "hard reset, once",
                [
                    "reset r1n03",
                    "reset r1n03 --no-wait",
                    "reset r1n[01-02] --dry-run",
                ],
            ),
            (
                "cycle",
                "power cycle by the BMC, once",
                [
                    "cycle r1n03",
                    "cycle r1n03 --no-wait",
                    "cycle r1n[01-02] --dry-run",
                ],
            ),
            (
                "nmi",
                "diagnostic interrupt, once; then watch",
                [
                    "nmi r1n03",
                    "nmi r1n03 --no-wait",
                    "nmi r1n[01-02] --dry-run",
                ],
            ),
        ],
    ),
    (
        "Tasks",
        &[
            (
                "tasks",
                "those that run, and the last that ended",
                ["tasks", "tasks r1n03", "tasks --active -o wide"],
            ),
            (
                "task",
                "one in full: what was sent, what may be done",
                ["task r1n03", "task t:7k3f9", "task r1n03 --wait"],
            ),
            (
                "batch",
                "batches, or one with all its nodes",
                ["batch", "batch b:4m2xz", "batch b:4m2xz --wait"],
            ),
            (
                "abort",
                "stop now, leave the machine as it is",
                ["abort r1n03", "abort t:7k3f9", "abort b:4m2xz"],
            ),
            (
                "cancel",
                "withdraw what has not been sent yet",
                ["cancel r1n03", "cancel t:7k3f9", "cancel b:4m2xz"],
            ),
            (
                "rollback",
                "stop, and bring the power state back",
                [
                    "rollback r1n03",
                    "rollback t:7k3f9 --wait",
                    "rollback b:4m2xz",
                ],
            ),
            (
                "suspend",
                "hold still; no patience runs out",
                ["suspend r1n03", "suspend t:7k3f9", "suspend @compute"],
            ),
            (
                "resume",
                "go on, after a look at the machine",
                ["resume r1n03", "resume t:7k3f9 --wait", "resume @compute"],
            ),
        ],
    ),
    (
        "The rack",
        &[
            (
                "pause",
                "the big red button: nothing new, all suspended",
                [
                    "pause smoke in row 4",
                    "pause UPS maintenance until 14:00",
                    "pause -q moving cables",
                ],
            ),
            (
                "release",
                "end the pause",
                ["release", "release -q", "release --rack r2"],
            ),
            (
                "ha",
                "the hosts of a rack that has several",
                ["ha status", "ha handover --wait", "ha handover --to mgmt2"],
            ),
            (
                "maintenance",
                "mark nodes as being worked on",
                [
                    "maintenance r1n03 --reason 'new fans'",
                    "maintenance r1n03 --off",
                    "maintenance @storage",
                ],
            ),
            (
                "retry",
                "forget failed log-ins, try again",
                ["retry r1n03", "retry @storage", "retry --all"],
            ),
            (
                "audit",
                "who changed what",
                ["audit", "audit -n 100", "audit verify"],
            ),
            (
                "support",
                "one file for whoever is to find out what is wrong",
                [
                    "support",
                    "support r1n03 r1n07",
                    "support @storage --to r1.tar.gz",
                ],
            ),
        ],
    ),
    (
        "Many racks (--fleet)",
        &[(
            "racks",
            "each rack: answer, counts, tasks, trouble",
            [
                "racks",
                "racks r[1-20] -o json",
                "racks --fleet-file fleet.toml",
            ],
        )],
    ),
    (
        "BMCs",
        &[
            (
                "bmc",
                "who they are; restart them; accept another one",
                [
                    "bmc info r1n03",
                    "bmc reset r1n03 --cold",
                    "bmc accept r1n03",
                ],
            ),
            (
                "chassis",
                "faults, identify light, restore policy",
                [
                    "chassis status r1n03",
                    "chassis policy r1n03",
                    "chassis policy r1n03 --set previous",
                ],
            ),
            (
                "sel",
                "their event logs",
                [
                    "sel list r1n03",
                    "sel list r1n[01-04] -n 5",
                    "sel clear r1n03",
                ],
            ),
            (
                "power-use",
                "watts now",
                [
                    "power-use r1n03",
                    "power-use @compute",
                    "power-use --all -o json",
                ],
            ),
            (
                "identify",
                "blink the light",
                [
                    "identify r1n03",
                    "identify r1n03 --for 5m",
                    "identify r1n03 --off",
                ],
            ),
            (
                "bootdev",
                "what nodes boot from next",
                [
                    "bootdev r1n03",
                    "bootdev r1n03 --set pxe",
                    "bootdev r1n03 --set none",
                ],
            ),
            (
                "raw",
                "one IPMI command in bytes (experts)",
                [
                    "raw r1n03 0x06 0x01",
                    "raw r1n03 6 1 -o json",
                    "raw r1n03 0x06 0x01 --bridge 0:0x2c",
                ],
            ),
        ],
    ),
    (
        "Try it, and tools",
        &[
            (
                "discover",
                "which BMCs a network has",
                [
                    "discover 10.0.1.0/24",
                    "discover 10.0.1.0/24 --username admin",
                    "discover 10.0.1.0/24 --write-config rack.toml",
                ],
            ),
            (
                "init",
                "a first configuration, by questions",
                [
                    "init",
                    "init --directory ./rack",
                    "init --directory /etc/rackbmcd",
                ],
            ),
            (
                "demo",
                "a simulated rack and the real daemon",
                ["demo", "demo --keep", "demo -q"],
            ),
            (
                "sim",
                "simulated BMCs for any IPMI client",
                [
                    "sim",
                    "sim --nodes 16 --write-config rack.toml",
                    "sim --os hangs --node n02=dead",
                ],
            ),
            (
                "completion",
                "completion for bash, zsh or fish",
                ["completion bash", "completion zsh", "completion fish"],
            ),
            (
                "man",
                "the man page",
                ["man", "man soft", "man --into ./man1"],
            ),
            (
                "node-show",
                "a node, as `ironic` showed it",
                [
                    "node-show r1n03",
                    "node-show r1n03 --rack r2",
                    "node-show r1n03 -q",
                ],
            ),
            (
                "node-show-states",
                "its states, as `ironic` showed them",
                [
                    "node-show-states r1n03",
                    "node-show-states r1n03 --rack r2",
                    "node-show-states r1n03 -q",
                ],
            ),
            (
                "node-set-power-state",
                "its power, as `ironic` set it",
                [
                    "node-set-power-state r1n03 soft_off",
                    "node-set-power-state r1n03 on",
                    "node-set-power-state r1n03 abort_soft_off",
                ],
            ),
        ],
    ),
];
