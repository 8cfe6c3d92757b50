package suite

import (
	"slices"
	"sync"
)

// Each plays scenarios, several at once where there are nodes for them: always the largest that the free nodes are enough
// for, so that the small ones fill what is left; done gets the results of each, one at a time.
func Each(scenarios []Scenario, machines Machines, play func(Scenario, Machines) map[string]Result, done func(map[string]Result)) {
	var (
		lock    sync.Mutex
		changed = sync.NewCond(&lock)
		free    = append([]Machine(nil), machines.Nodes...)
		running sync.WaitGroup
	)
	waiting := slices.Clone(scenarios)
	slices.SortStableFunc(waiting, func(a, b Scenario) int { return b.Needs() - a.Needs() })
	for len(waiting) > 0 {
		lock.Lock()
		next := -1
		for next < 0 {
			next = slices.IndexFunc(waiting, func(s Scenario) bool { return s.Needs() <= len(free) })
			if next < 0 {
				changed.Wait()
			}
		}
		scenario := waiting[next]
		waiting = slices.Delete(waiting, next, next+1)
		mine := append([]Machine(nil), free[:scenario.Needs()]...)
		free = append([]Machine(nil), free[scenario.Needs():]...)
		lock.Unlock()
		running.Add(1)
		go func() {
			defer running.Done()
			results := play(scenario, Machines{Nodes: mine, Nobody: machines.Nobody})
			lock.Lock()
			defer lock.Unlock()
			done(results)
			free = inOrder(machines.Nodes, append(free, mine...))
			changed.Broadcast()
		}()
	}
	running.Wait()
}

// inOrder gives some of the machines in the order of all.
func inOrder(all, some []Machine) []Machine {
	var out []Machine
	for _, machine := range all {
		for _, one := range some {
			if one == machine {
				out = append(out, machine)
			}
		}
	}
	return out
}
