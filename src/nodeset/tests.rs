//! The vectors of operators' tools, the faults with their places, and the properties.

use super::*;
use proptest::prelude::*;

fn no_groups(_: &str) -> Option<Vec<String>> {
    None
}

fn storage(group: &str) -> Option<Vec<String>> {
    let names = match group {
        "storage" => "s1 s2",
        "rack1" => "a b",
        "rack2" => "c",
        "all" => "s1 s2 n1",
        "empty" => "",
        _ => return None,
    };
    Some(names.split_whitespace().map(str::to_owned).collect())
}

fn names(text: &str) -> String {
    expand(text, &storage).map_or_else(|e| e.to_string(), |names| names.join(" "))
}

fn fault(text: &str) -> (usize, Fault) {
    let error = expand(text, &storage).expect_err(text);
    (error.column, error.fault)
}

#[test]
fn ranges_expand_as_operators_expect() {
    for (text, expected) in [
        ("n[08-11]", "n08 n09 n10 n11"),
        ("n[1-3,5]", "n1 n2 n3 n5"),
        ("n[01-03,20]", "n01 n02 n03 n20"),
        ("rack[1-2]n[01-02]", "rack1n01 rack1n02 rack2n01 rack2n02"),
        ("n[1-2]-bmc", "n1-bmc n2-bmc"),
        ("n[1-10/3]", "n1 n4 n7 n10"),
        ("n[01-10/3]", "n01 n04 n07 n10"),
        ("n[0-2]", "n0 n1 n2"),
        ("n[8-11]", "n8 n9 n10 n11"),
        ("n[1-2,03]", "n1 n2 n03"),
        ("[1-2]", "1 2"),
        ("login", "login"),
        ("n1,n2 n3,  n4", "n1 n2 n3 n4"),
        ("n3 n1 n3", "n3 n1"),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn operators_work_from_left_to_right() {
    for (text, expected) in [
        ("n[1-4]!n2", "n1 n3 n4"),
        ("n[1-4]&n[3-9]", "n3 n4"),
        ("n[1-4]!n2,n2", "n1 n3 n4 n2"),
        ("n1,n2 ! n1 & n2", "n2"),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn groups_come_from_the_resolver() {
    assert_eq!(names("n1,@storage"), "n1 s1 s2");
    assert_eq!(names("@rack[1-2]"), "a b c");
    assert_eq!(names("@*!@storage"), "n1");
    assert_eq!(names("@all&s2"), "s2");
    assert_eq!(fault("n1,@x"), (4, Fault::NoSuchGroup("x".into())));
}

#[test]
fn a_fault_is_shown_with_its_place() {
    for (text, column, expected) in [
        ("n[3-1]", 3, Fault::Backwards("3".into(), "1".into())),
        ("n[]", 3, Fault::MissingNumber),
        ("n[1-3", 2, Fault::Unclosed),
        ("n[1,,2]", 5, Fault::MissingNumber),
        ("n[1-3,5-4]", 7, Fault::Backwards("5".into(), "4".into())),
        ("n[8-011]", 3, Fault::Padding("8".into(), "011".into())),
        ("n[01-100]", 3, Fault::Padding("01".into(), "100".into())),
        ("n[1-9/0]", 3, Fault::ZeroStep),
        ("n[a-b]", 3, Fault::NotARange("a-b".into())),
        ("n[5/2]", 3, Fault::NotARange("5/2".into())),
        ("n[-3]", 3, Fault::NotARange("-3".into())),
        ("n[1-2-3]", 3, Fault::NotARange("1-2-3".into())),
        ("n[[1]]", 3, Fault::NotARange("[1".into())),
        ("n[1 -3]", 2, Fault::Unclosed),
        ("n1]", 3, Fault::Unexpected(']')),
        ("n1@storage", 3, Fault::Unexpected('@')),
        ("ä,ö[3-1]", 5, Fault::Backwards("3".into(), "1".into())),
        ("n1,,n2", 4, Fault::MissingName("before this")),
        ("!n1", 1, Fault::MissingName("before this")),
        ("n1 &", 4, Fault::MissingName("after this")),
        ("n1,", 3, Fault::MissingName("after this")),
        ("n1,@", 5, Fault::MissingName("here")),
        (
            "n[1234567890123456789]",
            3,
            Fault::TooManyDigits("1234567890123456789".into()),
        ),
    ] {
        assert_eq!(fault(text), (column, expected), "{text}");
    }
    assert_eq!(
        names("n[3-1]"),
        "'n[3-1]', column 3: the range 3-1 runs backwards: write 1-3"
    );
}

#[test]
fn no_targets_is_an_error_and_never_all() {
    for text in ["", "   "] {
        assert_eq!(fault(text), (1, Fault::NoTargets));
    }
    for text in ["n1!n1", "n1&n2", "@empty"] {
        assert_eq!(fault(text), (1, Fault::NothingLeft), "{text}");
    }
    let none: [&str; 0] = [];
    let all = |texts: &[&str], x: &[&str]| expand_all(texts, x, &storage).map_err(|e| e.fault);
    assert_eq!(all(&none, &none), Err(Fault::NoTargets));
    assert_eq!(all(&["n1", "n2"], &["n[1-2]"]), Err(Fault::NothingLeft));
    assert_eq!(all(&[""], &none), Err(Fault::NoTargets));
}

#[test]
fn excluded_names_are_taken_out_of_all_the_others() {
    let kept = expand_all(&["n[1-3]", "@storage"], &["n2,s1", "n9"], &storage).unwrap();
    assert_eq!(kept, ["n1", "n3", "s2"]);
}

#[test]
fn an_expansion_without_measure_is_refused_before_it_is_made() {
    assert_eq!(expand("n[1-65536]", &no_groups).unwrap().len(), LIMIT);
    for text in [
        "n[1-65537]",
        "n[1-999999999999999999]",
        "n[1-999999999999999999][1-999999999999999999]",
        "n[1-256]x[1-257]",
        "n[0-65535],m",
    ] {
        assert_eq!(fault(text).1, Fault::TooMany(LIMIT), "{text}");
    }
    assert_eq!(
        expand_pattern("[1-65537]").unwrap_err().fault,
        Fault::TooMany(LIMIT)
    );
    // Few letters many times, and many letters few times.
    let long = format!("{}[1-99]", "n".repeat(60_000));
    assert_eq!(fault(&long).1, Fault::TooMany(LIMIT));
    let again = ["n[1-4096]"; 17];
    let none: [&str; 0] = [];
    let all = |texts: &[&str], x: &[&str]| expand_all(texts, x, &no_groups).map_err(|e| e.fault);
    assert_eq!(all(&again, &none), Err(Fault::TooMany(LIMIT)));
    assert_eq!(all(&["m"], &again), Err(Fault::TooMany(LIMIT)));
    assert_eq!(all(&again[1..], &none).unwrap().len(), 4096);
    let few = |texts: &[&str]| expand_few(texts, &none, &no_groups, 9).map_err(|e| e.fault);
    assert_eq!(few(&["n[1-9]"]).unwrap().len(), 9);
    assert_eq!(few(&["n[1-9]", "n1"]), Err(Fault::TooMany(9)));
}

#[test]
fn a_pattern_expands_in_step_with_its_repetitions() {
    let strings = |text| expand_pattern(text).unwrap().join(" ");
    assert_eq!(
        strings("10.0.[1-2].[1-2]"),
        "10.0.1.1 10.0.1.2 10.0.2.1 10.0.2.2"
    );
    assert_eq!(strings("10.0.0.[7,7]"), "10.0.0.7 10.0.0.7");
    assert_eq!(strings("fd00::[1-2]"), "fd00::1 fd00::2");
    assert_eq!(strings("a,b c!d"), "a,b c!d");
}

#[test]
fn names_fold_as_operators_expect() {
    for (text, expected) in [
        ("n01 n02 n03 n10", "n[01-03,10]"),
        ("n1 n2 n03", "n[1-2,03]"),
        ("rack1n01 rack1n02 rack2n01 rack2n02", "rack[1-2]n[01-02]"),
        ("n8 n9 n10 n11", "n[8-11]"),
        ("n08 n09 n10 n11", "n[08-11]"),
        ("n99 n100 n8", "n[8,99-100]"),
        ("b a n2 n1 a", "a,b,n[1-2]"),
        ("n1-bmc n2-bmc n3", "n[1-2]-bmc,n3"),
        ("r1n1 r1n2 r2n1", "r1n[1-2],r2n1"),
        ("n1", "n1"),
        ("", ""),
        // More digits than a range can have stand for themselves.
        (
            "n1234567890123456789 n1234567890123456790",
            "n1234567890123456789,n1234567890123456790",
        ),
    ] {
        assert_eq!(fold(text.split_whitespace()), expected, "{text}");
    }
}

#[test]
fn people_count_ten_after_two() {
    let mut names = ["n10", "n2", "n02", "a", "n2b", "n"];
    names.sort_by(|a, b| natural_order(a, b));
    assert_eq!(names, ["a", "n", "n02", "n2", "n2b", "n10"]);
}

fn some_name() -> impl Strategy<Value = String> {
    // Few letters and digits, so that names share their build often.
    "[ab]{0,1}[0-2]{1,2}([-.][0-1]{1,3}){0,2}|[a-z]{1,3}[0-9]{0,4}[a-z]{0,2}"
}

proptest! {
    #[test]
    fn folding_loses_and_invents_no_name(names in proptest::collection::btree_set(some_name(), 1..60)) {
        let folded = fold(&names);
        let again: BTreeSet<String> = expand(&folded, &no_groups).unwrap().into_iter().collect();
        prop_assert_eq!(&again, &names, "{}", folded);
        prop_assert_eq!(fold(again), folded);
    }

    #[test]
    fn a_range_has_as_many_names_as_it_says(first in 0_u64..5000, more in 0_u64..300, step in 1_u64..7) {
        let text = format!("n[{first}-{}/{step}]", first + more);
        let names = expand(&text, &no_groups).unwrap();
        prop_assert_eq!(names.len() as u64, more / step + 1);
        for (index, name) in names.iter().enumerate() {
            prop_assert_eq!(name, &format!("n{}", first + index as u64 * step));
        }
    }

    #[test]
    fn nothing_that_is_written_makes_it_panic(text in "[n0-9\\[\\],!&@/ äa-]{0,24}|\\PC{0,16}") {
        match expand(&text, &storage) {
            Ok(names) => prop_assert!(!names.is_empty() && names.len() <= LIMIT),
            Err(error) => prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1),
        }
        let _ = expand_pattern(&text);
        let _ = fold([text]);
    }

    #[test]
    fn taking_out_and_keeping_part_a_set_in_two(a in proptest::collection::btree_set(some_name(), 1..20),
                                                b in proptest::collection::btree_set(some_name(), 1..20)) {
        let (a_text, b_text) = (fold(&a), fold(&b));
        // `a&b` has its operands folded with commas: the right one is given one by one.
        let out: String = b.iter().map(|name| format!("!{name}")).collect();
        let rest = expand(&format!("{a_text}{out}"), &no_groups).unwrap_or_default();
        let expected: Vec<String> = a.difference(&b).cloned().collect();
        let mut rest_sorted = rest.clone();
        rest_sorted.sort();
        prop_assert_eq!(rest_sorted, expected);
        let excluded = expand_all(&[a_text], &[b_text], &no_groups).unwrap_or_default();
        prop_assert_eq!(excluded, rest);
    }
}

#[test]
fn a_name_may_carry_its_rack_and_so_may_a_group() {
    let groups = |group: &str| match group {
        "r1/compute" => Some(vec!["r1/n01".to_owned(), "r1/n02".to_owned()]),
        "r2/all" => Some(vec!["r2/n09".to_owned()]),
        _ => None,
    };
    let names = |text: &str| expand(text, &groups).map(|names| names.join(" "));
    let several = names("r[1-2]/n[01-02]").expect("names");
    assert_eq!(several, "r1/n01 r1/n02 r2/n01 r2/n02");
    assert_eq!(
        names("r1/@compute!r1/n01,r2/@*").expect("names"),
        "r1/n02 r2/n09"
    );
    let unknown = names("r1/n01,r[1-2]/@compute").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "'r1/n01,r[1-2]/@compute', column 8: there is no group 'r2/compute'"
    );
    let fault = names("r1/@com]").unwrap_err();
    assert_eq!((fault.column, fault.fault), (8, Fault::Unexpected(']')));
    assert_eq!(
        fold(["r1/n01", "r1/n02", "r2/n01", "r2/n02"]),
        "r[1-2]/n[01-02]"
    );
}
