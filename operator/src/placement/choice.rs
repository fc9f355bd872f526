//! The instance with the most free capacity. Pure.

use std::cmp::Ordering;

use tenantry_crds::names::InstanceName;

/// An instance and how full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub name: InstanceName,
    /// Tenants that it takes; nothing means that it takes any number.
    pub capacity: Option<u32>,
    /// Tenants that it has.
    pub tenants: u32,
}

impl Load {
    /// Whether it takes another tenant.
    pub fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.tenants < capacity)
    }

    /// The free part of its capacity as a fraction; all of it where there is no bound.
    fn free(&self) -> (u64, u64) {
        match self.capacity {
            Some(capacity) => (u64::from(capacity.saturating_sub(self.tenants)), u64::from(capacity.max(1))),
            None => (1, 1),
        }
    }

    /// `default 3/10`, or `default 3` where there is no bound.
    pub fn describe(&self) -> String {
        match self.capacity {
            Some(capacity) => format!("{} {}/{capacity}", self.name, self.tenants),
            None => format!("{} {}", self.name, self.tenants),
        }
    }
}

/// The one with the greatest free share; of equals the one with the fewest tenants, then the first by name.
pub fn choose(instances: &[Load]) -> Option<&InstanceName> {
    instances.iter().filter(|one| one.has_room()).min_by(|a, b| order(a, b)).map(|one| &one.name)
}

fn order(a: &Load, b: &Load) -> Ordering {
    let ((free_a, all_a), (free_b, all_b)) = (a.free(), b.free());
    // free_a / all_a against free_b / all_b, without rounding.
    (free_b * all_a)
        .cmp(&(free_a * all_b))
        .then_with(|| a.tenants.cmp(&b.tenants))
        .then_with(|| a.name.cmp(&b.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, capacity: Option<u32>, tenants: u32) -> Load {
        Load { name: InstanceName::new(name).unwrap(), capacity, tenants }
    }

    fn chosen(instances: &[Load]) -> Option<&str> {
        choose(instances).map(InstanceName::as_str)
    }

    #[test]
    fn the_greatest_free_share_wins_and_not_the_greatest_number() {
        let large = load("large", Some(100), 60);
        assert_eq!(chosen(&[large.clone(), load("small", Some(10), 5)]), Some("small"));
        assert_eq!(chosen(&[large.clone(), load("small", Some(10), 7)]), Some("large"));
        assert_eq!(chosen(&[large, load("free", None, 5000)]), Some("free"));
    }

    #[test]
    fn equals_are_told_apart_always_in_the_same_way() {
        assert_eq!(chosen(&[load("b", None, 3), load("a", None, 4)]), Some("b"));
        assert_eq!(chosen(&[load("b", None, 3), load("a", None, 3)]), Some("a"));
        assert_eq!(chosen(&[load("b", Some(2), 1), load("a", Some(4), 2)]), Some("b"), "fewer tenants");
    }

    #[test]
    fn a_full_instance_is_never_chosen() {
        assert_eq!(chosen(&[load("a", Some(1), 1), load("b", Some(0), 0)]), None);
        assert_eq!(chosen(&[load("a", Some(1), 2), load("b", Some(9), 8)]), Some("b"));
    }

    #[test]
    fn tenants_spread_evenly() {
        let mut loads = vec![load("default", Some(30), 0), load("east", Some(10), 0)];
        for _ in 0..20 {
            let name = choose(&loads).unwrap().clone();
            loads.iter_mut().find(|load| load.name == name).unwrap().tenants += 1;
        }
        assert_eq!(loads.iter().map(|load| load.tenants).collect::<Vec<_>>(), [15, 5]);
    }
}
