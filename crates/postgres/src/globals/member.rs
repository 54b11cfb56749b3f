//! Memberships in an order in which each can be granted.

use std::collections::BTreeSet;

use super::Membership;

/// From PostgreSQL 16 on a grantor must hold the admin option before it grants. Those whose grantor never comes to hold it are
/// last, and without him.
pub(super) fn in_order(memberships: &[Membership]) -> Vec<Membership> {
    let mut left: Vec<Membership> = memberships.to_vec();
    let mut ordered = Vec::new();
    let mut admins: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let can = |m: &Membership| m.grantor.as_ref().is_none_or(|by| admins.contains(&(m.role.clone(), by.clone())));
        let (now, later): (Vec<Membership>, Vec<Membership>) = left.into_iter().partition(can);
        left = later;
        if now.is_empty() {
            break;
        }
        admins.extend(now.iter().filter(|m| m.admin).map(|m| (m.role.clone(), m.member.clone())));
        ordered.extend(now);
    }
    ordered.extend(left.into_iter().map(|m| Membership { grantor: None, ..m }));
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(role: &str, member: &str, admin: bool, grantor: Option<&str>) -> Membership {
        let [role, member] = [role, member].map(str::to_owned);
        Membership { role, member, admin, grantor: grantor.map(str::to_owned), ..Membership::default() }
    }

    #[test]
    fn who_grants_was_granted_it_before() {
        let given = [
            membership("g", "c", false, Some("b")),
            membership("g", "b", true, Some("a")),
            membership("g", "a", true, None),
            membership("g", "x", true, Some("y")),
        ];
        let members: Vec<(String, Option<String>)> =
            in_order(&given).into_iter().map(|m| (m.member, m.grantor)).collect();
        let expected = [("a", None), ("b", Some("a")), ("c", Some("b")), ("x", None)];
        assert_eq!(members, expected.map(|(m, g)| (m.to_owned(), g.map(str::to_owned))));
    }
}
