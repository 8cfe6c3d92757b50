//! Whose things are, where several may claim them: nothing is given to one while another may be its owner as well.

/// Whose each thing is.
pub(super) type Owners = Vec<Option<usize>>;
/// Things that may be several's, and whose.
pub(super) type Disputed = Vec<(usize, Vec<usize>)>;

/// What is claimed, by the place of each thing and of each who may claim it.
pub(super) struct Claims<'c> {
    pub(super) things: usize,
    pub(super) claimants: usize,
    /// By what somebody says that a thing is his own, the surest first.
    pub(super) rules: &'c [&'c dyn Fn(usize, usize) -> bool],
    /// Whether a thing has his address.
    pub(super) is_at: &'c dyn Fn(usize, usize) -> bool,
    /// Whether his address alone makes it his.
    pub(super) by_address: &'c dyn Fn(usize) -> bool,
}

impl Claims<'_> {
    /// Whose each thing is, and who else may be taken for its owner where that cannot be told. Nobody is given what another one
    /// claims, or has the address of: what is done to the thing would be done to the other one.
    pub(super) fn settle(&self) -> (Owners, Disputed) {
        let mut owners = vec![None; self.things];
        let at = |thing| (0..self.claimants).filter(move |who| (self.is_at)(thing, *who));
        // The claim and the address agree.
        for rule in self.rules {
            self.give(&mut owners, &|thing, open| {
                only(
                    open.iter()
                        .copied()
                        .filter(|who| rule(thing, *who) && (self.is_at)(thing, *who)),
                )
            });
        }
        // Nobody else claims it, and the address is not known to be another's.
        for rule in self.rules {
            self.give(&mut owners, &|thing, open| {
                let who = only(self.by_claim(thing, open).into_iter())?;
                (rule(thing, who) && at(thing).all(|other| other == who)).then_some(who)
            });
        }
        // Nobody claims it, and one has its address.
        self.give(&mut owners, &|thing, open| {
            let who = only(at(thing))?;
            let is_his = open.contains(&who) && (self.by_address)(who);
            let mut claims = self.by_claim(thing, open).into_iter();
            (is_his && claims.all(|other| other == who)).then_some(who)
        });
        let open = self.open(&owners);
        let left = (0..self.things).filter(|thing| owners.get(*thing) == Some(&None));
        let disputed = left.filter_map(|thing| {
            let mut rivals = self.by_claim(thing, &open);
            let there = at(thing).filter(|who| open.contains(who) && (self.by_address)(*who));
            rivals.extend(there);
            rivals.sort_unstable();
            rivals.dedup();
            (rivals.len() > 1).then_some((thing, rivals))
        });
        let disputed = disputed.collect();
        (owners, disputed)
    }

    /// Gives away by a rule for as long as that decides anything: who has got something claims nothing else.
    fn give(&self, owners: &mut [Option<usize>], rule: &dyn Fn(usize, &[usize]) -> Option<usize>) {
        loop {
            let open = self.open(owners);
            let mut left = (0..)
                .zip(owners.iter_mut())
                .filter(|(_, owner)| owner.is_none());
            let Some((who, owner)) = left.find_map(|(at, owner)| Some((rule(at, &open)?, owner)))
            else {
                return;
            };
            *owner = Some(who);
        }
    }

    fn open(&self, owners: &[Option<usize>]) -> Vec<usize> {
        let all = 0..self.claimants;
        all.filter(|who| !owners.contains(&Some(*who))).collect()
    }

    fn by_claim(&self, thing: usize, open: &[usize]) -> Vec<usize> {
        let claims = |who: &usize| self.rules.iter().any(|rule| rule(thing, *who));
        open.iter().copied().filter(claims).collect()
    }
}

/// The one that there is, where there is one.
fn only(mut all: impl Iterator<Item = usize>) -> Option<usize> {
    let one = all.next()?;
    all.next().is_none().then_some(one)
}

/// Whether this holds for the one at a place.
pub(super) fn of<'t, T>(all: &'t [T], is: &dyn Fn(&T) -> bool, at: usize) -> bool {
    all.get(at).is_some_and(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets the things, by who claims which, surely or less so, and who has the address of which.
    fn settled(
        sure: &[(usize, usize)],
        less: &[(usize, usize)],
        at: &[(usize, usize)],
    ) -> (Owners, Disputed) {
        let is = |list: &[(usize, usize)]| {
            let list = list.to_vec();
            move |thing: usize, who: usize| list.contains(&(thing, who))
        };
        let claims = Claims {
            things: 2,
            claimants: 3,
            rules: &[&is(sure), &is(less)],
            is_at: &is(at),
            by_address: &|_| true,
        };
        claims.settle()
    }

    #[test]
    fn a_claim_counts_where_nothing_speaks_for_another() {
        // Alone; with its address; against the address of another; against another claim.
        assert_eq!(settled(&[], &[(0, 1)], &[]).0, [Some(1), None]);
        assert_eq!(
            settled(&[], &[(0, 0), (0, 1)], &[(0, 1)]).0,
            [Some(1), None]
        );
        let against = settled(&[], &[(0, 0)], &[(0, 1)]);
        assert_eq!(against, (vec![None, None], vec![(0, vec![0, 1])]));
        let twice = settled(&[(0, 0)], &[(0, 1)], &[]);
        assert_eq!(twice, (vec![None, None], vec![(0, vec![0, 1])]));
    }

    #[test]
    fn who_has_one_thing_claims_no_other() {
        // The surer claim first; then nobody is left who claims the other.
        let (owners, disputed) = settled(&[(1, 0)], &[(0, 0), (0, 1)], &[]);
        assert_eq!((owners, disputed.len()), (vec![Some(1), Some(0)], 0));
    }

    #[test]
    fn an_address_alone_counts_where_one_has_it_and_nobody_claims_it() {
        assert_eq!(settled(&[], &[], &[(1, 2)]).0, [None, Some(2)]);
        let (owners, disputed) = settled(&[], &[], &[(1, 1), (1, 2)]);
        assert_eq!(
            (owners, disputed),
            (vec![None, None], vec![(1, vec![1, 2])])
        );
    }
}
