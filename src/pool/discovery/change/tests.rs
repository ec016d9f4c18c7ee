use super::*;

fn members(texts: &[&str]) -> Vec<Member> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_change_names_joined_left_and_reweighted_members() {
    let before = members(&["http://a:1", "http://b:1", "http://c:1 weight=2"]);
    let after = members(&["http://d:1", "http://c:1 weight=3", "http://b:1"]);
    let change = MembershipChange::between(&before, &after);
    assert_eq!(
        change.to_string(),
        "joined: http://d:1; left: http://a:1; now with another weight: http://c:1 weight=3"
    );
    let more = MembershipChange::between(&[], &before);
    assert_eq!(more.to_string(), "joined: http://a:1, http://b:1, http://c:1 weight=2");
}

#[test]
fn only_the_first_of_many_members_are_named() {
    let many: Vec<Member> = (10..40).map(|number| format!("http://h{number}:1").parse().unwrap()).collect();
    let text = MembershipChange::between(&[], &many).to_string();
    assert!(
        text.starts_with("joined: http://h10:1, ") && text.ends_with(", http://h29:1, and 10 more"),
        "{text}"
    );
    assert!(MembershipChange::between(&[], &many[..20]).to_string().ends_with(", http://h29:1"));
}

#[test]
fn another_order_is_not_a_change() {
    let change = MembershipChange::between(
        &members(&["http://a:1", "http://b:1"]),
        &members(&["http://b:1", "http://a:1"]),
    );
    assert!(change.is_empty());
    assert_eq!(change.to_string(), "no change");
}
