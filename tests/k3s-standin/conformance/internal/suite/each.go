package suite

import "sync"

// Each plays scenarios, several at once where there are nodes for them, in their order as far as that goes; done gets
// the results of each, one at a time.
func Each(scenarios []Scenario, machines Machines, play func(Scenario, Machines) map[string]Result, done func(map[string]Result)) {
	var (
		lock    sync.Mutex
		changed = sync.NewCond(&lock)
		free    = append([]Machine(nil), machines.Nodes...)
		running sync.WaitGroup
	)
	for _, scenario := range scenarios {
		lock.Lock()
		for len(free) < scenario.Needs() {
			changed.Wait()
		}
		// Those with four nodes rely on the nodes' order: their addresses follow each other.
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
