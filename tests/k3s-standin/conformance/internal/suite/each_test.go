package suite

import (
	"sync"
	"testing"
)

type dummy struct {
	Machine
	name string
}

func TestScenariosShareTheNodesAndNoNodeIsUsedTwice(t *testing.T) {
	machines := Machines{}
	for _, name := range []string{"a", "b", "c", "d"} {
		machines.Nodes = append(machines.Nodes, &dummy{name: name})
	}
	scenarios := []Scenario{
		{File: "1", Nodes: []string{"n1"}}, {File: "2", Nodes: []string{"n1", "n2"}}, {File: "3", Nodes: []string{"n1"}},
		{File: "4", Nodes: []string{"n1", "n2", "n3", "n4"}}, {File: "5", Nodes: []string{"n1"}},
	}
	var lock sync.Mutex
	busy, most := map[string]bool{}, 0
	gate := make(chan struct{})
	released := sync.OnceFunc(func() { close(gate) })
	played := map[string]Result{}
	Each(scenarios, machines, func(s Scenario, mine Machines) map[string]Result {
		lock.Lock()
		for i, machine := range mine.Nodes {
			name := machine.(*dummy).name
			if busy[name] {
				t.Errorf("%s is used twice", name)
			}
			if s.File == "4" && name != string(rune('a'+i)) {
				t.Errorf("node %d is %s", i, name)
			}
			busy[name] = true
		}
		most = max(most, len(busy))
		if len(busy) == 4 {
			released()
		}
		lock.Unlock()
		<-gate // the largest runs first; the others after it
		lock.Lock()
		defer lock.Unlock()
		for _, machine := range mine.Nodes {
			delete(busy, machine.(*dummy).name)
		}
		return map[string]Result{s.File: {}}
	}, func(more map[string]Result) {
		for id := range more {
			played[id] = Result{}
		}
	})
	if len(played) != 5 || most != 4 {
		t.Errorf("%d played, at most %d nodes at once", len(played), most)
	}
}
