package encryption

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
)

// addKey returns the configuration's keys with a new one at the end.
func (s *server) addKey() (Providers, error) {
	providers, err := Read(s.configFile)
	if err != nil {
		return Providers{}, err
	}
	key, err := NewKey(rotatedName(time.Now()))
	if err != nil {
		return Providers{}, err
	}
	logx.Infof("Adding secrets-encryption key:  Name: %s, Secret: [REDACTED]", key.Name)
	providers.Keys = append(providers.Keys, key)
	return providers, nil
}

// prepare adds a key behind the one in use: all servers can read it before anyone writes with it.
func (s *server) prepare(force bool) error {
	ctx, client := s.core.get()
	if err := s.verify(ctx, client, StagePrepare, force); err != nil {
		return err
	}
	providers, err := s.addKey()
	if err != nil {
		return err
	}
	providers.Enabled = true
	if err := providers.Write(s.configFile); err != nil {
		return err
	}
	return s.settle(ctx, client, StagePrepare)
}

// rotate puts the newest key first.
func (s *server) rotate(force bool) error {
	ctx, client := s.core.get()
	if err := s.verify(ctx, client, StageRotate, force); err != nil {
		return err
	}
	providers, err := Read(s.configFile)
	if err != nil {
		return err
	}
	providers.Keys, providers.Enabled = rotated(providers.Keys), true
	if err := providers.Write(s.configFile); err != nil {
		return err
	}
	return s.settle(ctx, client, StageRotate)
}

// settle makes a finished step known: Node, state file, bootstrap record.
func (s *server) settle(ctx context.Context, client kubernetes.Interface, stage string) error {
	if err := faults.At("encryption.written"); err != nil {
		return err
	}
	if err := s.enter(ctx, client, stage); err != nil {
		return err
	}
	if err := faults.At("encryption.entered"); err != nil {
		return err
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	return faults.At("encryption.saved")
}

// reencrypt rewrites all Secrets in the background; the caller is told at once.
func (s *server) reencrypt(force, skip bool) error {
	ctx, client := s.core.get()
	if err := s.verify(ctx, client, StageReencryptRequest, force); err != nil {
		return err
	}
	if err := s.setActive(ctx, client); err != nil {
		return err
	}
	go func() {
		if err := s.rewriteAndRemove(ctx, client, skip); err != nil {
			logx.Errorf("Failed to reencrypt secrets: %v", err)
		}
	}()
	return nil
}

// setActive marks the Node, with the hash the annotation had: the state file knows nothing of it, so that a restart
// goes back to the stage before.
func (s *server) setActive(ctx context.Context, client kubernetes.Interface) error {
	_, self, err := s.nodes(ctx, client)
	if err != nil {
		return err
	}
	_, hash, err := StageOf(self)
	if err != nil {
		return err
	}
	return s.annotate(ctx, client, StageReencryptActive+"-"+hash)
}

// rotateKeys does prepare, rotate and reencrypt in one call, without a restart and without the other servers. Nothing is
// saved to the datastore before the end: whoever dies in between has a configuration on disk that is "newer than
// datastore" and the only copy of the new key.
func (s *server) rotateKeys() error {
	ctx, client := s.core.get()
	if err := s.verify(ctx, client, StageRotateKeys, false); err != nil {
		return err
	}
	if err := s.setActive(ctx, client); err != nil {
		return err
	}
	if err := faults.At("rotate-keys.active"); err != nil {
		return err
	}
	before := s.wait.look(ctx, client)
	providers, err := s.addKey()
	if err != nil {
		return err
	}
	providers.Keys, providers.Enabled = rotated(providers.Keys), true
	if err := providers.Write(s.configFile); err != nil {
		return err
	}
	logx.Infof("Rotating secrets-encryption keys")
	if err := faults.At("rotate-keys.written"); err != nil {
		return err
	}
	times, err := s.wait.reload(ctx, client, before)
	if err != nil {
		return err
	}
	logx.Infof("encryption config reloaded successfully %d times", times)
	if err := faults.At("rotate-keys.reloaded"); err != nil {
		return err
	}
	return s.rewriteAndRemove(ctx, client, false)
}

// rewriteAndRemove rewrites all Secrets and drops the last key. With skip the key stays and the Node goes back to what
// the state file says: the hash is not repaired.
func (s *server) rewriteAndRemove(ctx context.Context, client kubernetes.Interface, skip bool) error {
	if err := rewriteSecrets(ctx, client, s.nodeName); err != nil {
		return err
	}
	if skip {
		return s.annotateFromState(ctx, client)
	}
	if err := faults.At("reencrypt.rewritten"); err != nil {
		return err
	}
	providers, err := Read(s.configFile)
	if err != nil {
		return err
	}
	if len(providers.Keys) < 2 {
		// Nothing recorded about this; the last key must not go, or no Secret could be read any more.
		return s.settle(ctx, client, StageReencryptFinished)
	}
	providers.Keys, providers.Enabled = providers.Keys[:len(providers.Keys)-1], true
	if err := providers.Write(s.configFile); err != nil {
		return err
	}
	return s.settle(ctx, client, StageReencryptFinished)
}

// enable turns encryption of new Secrets on or off and rewrites all at once. The apiserver has mostly not looked at the
// configuration by then, and the hash is not updated: both as in the real one.
func (s *server) enable(on bool) error {
	providers, err := Read(s.configFile)
	if err != nil {
		return err
	}
	ctx, client := s.core.get()
	switch {
	case on && providers.Enabled:
		logx.Infof("Secrets encryption already enabled")
		return nil
	case !on && !providers.Enabled:
		logx.Infof("Secrets encryption already disabled")
		return nil
	case on:
		logx.Infof("Enabling secrets encryption")
	default:
		logx.Infof("Disabling secrets encryption")
	}
	providers.Enabled = on
	if err := providers.Write(s.configFile); err != nil {
		return err
	}
	if err := faults.At("encryption.written"); err != nil {
		return err
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	if err := s.setActive(ctx, client); err != nil {
		return fmt.Errorf("marking the node: %w", err)
	}
	return s.rewriteAndRemove(ctx, client, true)
}
