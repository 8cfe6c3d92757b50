package compare

import (
	"fmt"
	"strings"
)

// pair is a recorded line and the one that was found for it.
type pair struct{ recorded, got Line }

// Identities remembers which value of a run stands for which of the recording: what was the same there must be the
// same here. Keys are named by times: an older one there must be the older one here.
type Identities struct{ pairs map[string][]identity }

type identity struct{ recorded, got string }

// NewIdentities begins a scenario.
func NewIdentities() *Identities { return &Identities{pairs: map[string][]identity{}} }

func (k *Identities) copy() *Identities {
	c := NewIdentities()
	for class, list := range k.pairs {
		c.pairs[class] = append([]identity(nil), list...)
	}
	return c
}

// same says whether two values may be one, of which some were cut short.
func same(a, b string) bool {
	return a == b || len(a) >= 6 && strings.HasPrefix(b, a) || len(b) >= 6 && strings.HasPrefix(a, b)
}

func (k *Identities) add(p pair) *Difference {
	for i, token := range p.recorded.Tokens {
		if i >= len(p.got.Tokens) || p.got.Tokens[i].Class != token.Class {
			break // a cut line
		}
		if bad := k.token(token.Class, identity{token.Value, p.got.Tokens[i].Value}, p); bad != nil {
			return bad
		}
	}
	return nil
}

func (k *Identities) token(class string, now identity, p pair) *Difference {
	differ := func(rule string, before identity) *Difference {
		return &Difference{"identity of a " + class,
			fmt.Sprintf("%s (recorded: %s and %s)\nin: %s", rule, before.recorded, now.recorded, p.recorded.Text),
			fmt.Sprintf("%s and %s\nin: %s", before.got, now.got, p.got.Text)}
	}
	for _, before := range k.pairs[class] {
		sameThere, sameHere := same(before.recorded, now.recorded), same(before.got, now.got)
		switch {
		case sameThere && !sameHere:
			return differ("the same as before", before)
		case sameHere && !sameThere:
			return differ("not the same as before", before)
		case class == classKey && !sameThere && before.recorded < now.recorded != (before.got < now.got):
			return differ("the order of age", before)
		}
	}
	for _, before := range k.pairs[class] {
		if before == now {
			return nil
		}
	}
	k.pairs[class] = append(k.pairs[class], now)
	return nil
}
