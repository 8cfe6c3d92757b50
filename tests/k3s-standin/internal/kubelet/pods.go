package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	informersv1 "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// workers is how many pods are worked on at a time.
const workers = 4

func uid(s string) types.UID { return types.UID(s) }

// pods holds the pods of the node and moves each of them on when something
// changed in the API or its time has come.
type pods struct {
	k      *Kubelet
	queue  workqueue.TypedRateLimitingInterface[string]
	store  cache.Store
	synced cache.InformerSynced

	mu     sync.Mutex
	known  map[types.UID]*pod
	byKey  map[string]types.UID
	used   map[netip.Addr]types.UID
	prefix netip.Prefix
	last   netip.Addr
}

func newPods(k *Kubelet) *pods {
	return &pods{
		k:     k,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 10*time.Second)),
		known: map[types.UID]*pod{}, byKey: map[string]types.UID{}, used: map[netip.Addr]types.UID{},
	}
}

func (ps *pods) watch(informer informersv1.PodInformer) {
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			ps.queue.Add(key)
		}
	}
	shared := informer.Informer()
	_, _ = shared.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }, DeleteFunc: add})
	ps.store, ps.synced = shared.GetStore(), shared.HasSynced
}

func (ps *pods) run(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), ps.synced) {
		return
	}
	for _, object := range ps.store.List() { // addresses that are in use already
		ps.keep(object.(*v1.Pod))
	}
	var group sync.WaitGroup
	for range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for ps.work(ctx) {
			}
		}()
	}
	<-ctx.Done()
	ps.queue.ShutDown()
	group.Wait()
}

func (ps *pods) work(ctx context.Context) bool {
	key, stop := ps.queue.Get()
	if stop {
		return false
	}
	defer ps.queue.Done(key)
	next, err := ps.sync(ctx, key)
	switch {
	case err != nil:
		ps.queue.AddRateLimited(key)
	default:
		ps.queue.Forget(key)
		if next > 0 {
			ps.queue.AddAfter(key, next)
		}
	}
	return true
}

// sync makes one step of one pod; it returns when the next one is due (0: when the API changes).
func (ps *pods) sync(ctx context.Context, key string) (time.Duration, error) {
	object, exists, err := ps.store.GetByKey(key)
	if err != nil {
		return 0, err
	}
	if !exists || object.(*v1.Pod).Spec.NodeName != ps.k.o.Name {
		ps.forget(key)
		return 0, nil
	}
	api := object.(*v1.Pod)
	p := ps.get(key, api)
	p.mu.Lock()
	defer p.mu.Unlock()
	if version(api) > version(p.api) { // never back to an older one: the informer may lag behind what was written last
		p.api = api
	}
	if p.gone {
		return 0, ps.remove(ctx, p)
	}
	n := needs{}
	if p.api.DeletionTimestamp == nil && !p.over() {
		n = ps.needs(ctx, p)
	}
	now := ps.k.o.Now()
	events := p.step(now, ps.k.o.Timings, n)
	ps.address(p)
	for _, e := range events {
		ps.k.events.Event(api, e.kind, e.reason, e.message)
	}
	if err := ps.write(ctx, p, p.status(now)); err != nil {
		return 0, err
	}
	if p.gone {
		return 0, ps.remove(ctx, p)
	}
	if at := p.wake(now); !at.IsZero() {
		return max(at.Sub(now), time.Millisecond), nil
	}
	return 0, nil
}

// get returns the simulated pod of an API object; a new one when the object is new.
func (ps *pods) get(key string, api *v1.Pod) *pod {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[api.UID]
	if p == nil {
		if old, found := ps.byKey[key]; found && old != api.UID {
			ps.drop(old)
		}
		p = newPod(api, ps.k.o.Now(), ps.k.o.Timings, ps.k.o.Images, ps.k.o.Reboot)
		p.hostIP = ps.k.o.IP
		ps.known[api.UID], ps.byKey[key] = p, api.UID
	}
	return p
}

// version orders the versions of one object.
func version(api *v1.Pod) uint64 {
	n, _ := strconv.ParseUint(api.ResourceVersion, 10, 64)
	return n
}

func (ps *pods) forget(key string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if id, found := ps.byKey[key]; found {
		ps.drop(id)
		delete(ps.byKey, key)
	}
}

func (ps *pods) drop(id types.UID) {
	delete(ps.known, id)
	for address, owner := range ps.used {
		if owner == id {
			delete(ps.used, address)
		}
	}
}

// needs looks up what the pod waits for. What is settled is not asked again.
func (ps *pods) needs(ctx context.Context, p *pod) needs {
	n := needs{env: map[string]*missing{}}
	look := newLookup(ctx, ps.k.o.Client, p.api.Namespace)
	if !p.mounted {
		if n.volumes = look.volumes(p.api); n.volumes != nil {
			return n
		}
	}
	for _, c := range append(append([]*container{}, p.init...), p.main...) {
		if c.phase == waiting {
			if m := look.env(c.spec); m != nil {
				n.env[c.spec.Name] = m
			}
		}
	}
	return n
}

// write patches the pod's status when it differs.
func (ps *pods) write(ctx context.Context, p *pod, status v1.PodStatus) error {
	before, err := json.Marshal(v1.Pod{Status: p.api.Status})
	if err != nil {
		return err
	}
	after, err := json.Marshal(v1.Pod{Status: status})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil || string(patch) == "{}" {
		return err
	}
	patch = []byte(fmt.Sprintf(`{"metadata":{"uid":%q},%s`, p.api.UID, patch[1:]))
	updated, err := ps.k.o.Client.CoreV1().Pods(p.api.Namespace).Patch(ctx, p.api.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted, or another pod of that name: the informer will say
	}
	if err == nil {
		p.api = updated
	}
	return err
}

// remove takes a stopped pod out of the API.
func (ps *pods) remove(ctx context.Context, p *pod) error {
	now := int64(0)
	err := ps.k.o.Client.CoreV1().Pods(p.api.Namespace).Delete(ctx, p.api.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.api.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// keep remembers the address a pod has from an earlier process.
func (ps *pods) keep(api *v1.Pod) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if address, err := netip.ParseAddr(api.Status.PodIP); err == nil && !api.Spec.HostNetwork {
		ps.used[address] = api.UID
	}
}

// address gives the pod its address once it is set up.
func (ps *pods) address(p *pod) {
	switch {
	case !p.mounted || p.ip != "":
	case p.api.Spec.HostNetwork:
		p.ip = ps.k.o.IP
	default:
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if address, ok := ps.free(); ok {
			ps.used[address] = p.api.UID
			p.ip = address.String()
		}
	}
}

// free returns the next unused address of the node's range, after the one
// given last, so that an address is not used again at once.
func (ps *pods) free() (netip.Addr, bool) {
	if !ps.prefix.IsValid() {
		return netip.Addr{}, false
	}
	first := ps.prefix.Masked().Addr().Next().Next() // .1 is the bridge
	if !ps.last.IsValid() {
		ps.last = first
	}
	for at, round := ps.last, 0; round < 2; at = at.Next() {
		if !ps.prefix.Contains(at) || !ps.prefix.Contains(at.Next()) { // out, or the broadcast address
			at, round = first, round+1
		}
		if _, taken := ps.used[at]; !taken {
			ps.last = at.Next()
			return at, true
		}
	}
	return netip.Addr{}, false
}

// setRange tells which addresses the node's pods may have.
func (ps *pods) setRange(cidr string) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.prefix == prefix {
		return
	}
	ps.prefix, ps.last = prefix, netip.Addr{}
	for key := range ps.byKey { // pods that wait for an address
		ps.queue.Add(key)
	}
}

// find returns a pod and one of its containers for the server on 10250.
func (ps *pods) find(namespace, name, containerName string) (api *v1.Pod, c container, found bool) {
	ps.mu.Lock()
	p := ps.known[ps.byKey[namespace+"/"+name]]
	ps.mu.Unlock()
	if p == nil {
		return nil, container{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range append(append([]*container{}, p.init...), p.main...) {
		if each.spec.Name == containerName {
			return p.api, *each, true
		}
	}
	return p.api, container{}, false
}
