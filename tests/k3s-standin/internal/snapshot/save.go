package snapshot

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
)

// errBusy is the answer to a second save at the same time.
var errBusy = errors.New("snapshot save already in progress")

// statusLimit bounds the question whether etcd answers at all.
const statusLimit = 2 * time.Second

// source is what a save needs of etcd.
type source interface {
	// Snapshot delivers the database with its trailing SHA-256.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
}

// save takes one snapshot into dir. A failure to write it is in the File, not in the error: the caller is told nothing of
// it (exit 0, no output), only journal and object know.
func save(ctx context.Context, from source, dir, base, node string, compress bool) File {
	now := time.Now()
	name := fileName(base, node, now)
	path := filepath.Join(dir, name)
	file := File{Name: name, Node: node, Created: now.Round(time.Second)}
	logx.Infof("Saving etcd snapshot to %s", path)
	err := faults.At("snapshot.save")
	if err == nil {
		err = write(ctx, from, path)
	}
	if err == nil && compress {
		logx.Infof("Compressing etcd snapshot file: %s", name)
		if err = zipFile(path); err == nil {
			name, path = name+zipSuffix, path+zipSuffix
			logx.Infof("Compressed snapshot: %s", path)
		}
	}
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(path)
	}
	if err != nil {
		logx.Errorf("Failed to take etcd snapshot: %v", err)
		file.Failure = err.Error()
		return file
	}
	file.Name, file.Size, file.Location = name, info.Size(), "file://"+path
	return file
}

// write writes to PATH.part and renames, as etcd's own client does, with its words.
func write(ctx context.Context, from source, path string) error {
	part := path + ".part"
	defer os.Remove(part)
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("could not open %s (%v)", part, err)
	}
	defer f.Close()
	stream, err := from.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := io.Copy(f, stream); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("could not rename %s to %s (%v)", part, path, err)
	}
	return nil
}

// zipFile puts path into path.zip (mode 0644, as the real one) and removes it.
func zipFile(path string) error {
	out, err := os.Create(path + zipSuffix)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	archive := zip.NewWriter(out)
	header, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	header.Method = zip.Deflate
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	if _, err := io.Copy(entry, in); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := out.Chmod(0o644); err != nil {
		return err
	}
	return os.Remove(path)
}

// unzipFile unpacks the one file of an archive to path.
func unzipFile(archive, path string) error {
	logx.Infof("Decompressing etcd snapshot file: %s", archive)
	in, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	if len(in.File) != 1 {
		return fmt.Errorf("%s holds %d files, not one snapshot", archive, len(in.File))
	}
	entry, err := in.File[0].Open()
	if err != nil {
		return err
	}
	defer entry.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, entry); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// prune removes the files beyond retention.
func prune(dir, node, prefix string, retention int) ([]string, error) {
	if retention < 1 {
		return nil, nil
	}
	logx.Infof("Applying snapshot retention=%d to local snapshots with prefix %s in %s", retention, prefix, dir)
	files, err := List(dir, node)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, file := range surplus(files, prefix, retention) {
		path := filepath.Join(dir, file.Name)
		logx.Infof("Removing local snapshot %s", path)
		if err := os.Remove(path); err != nil {
			return gone, err
		}
		gone = append(gone, file.Name)
	}
	return gone, nil
}

// checkEtcd asks the local member for its status. Without a leader there is no snapshot.
func checkEtcd(ctx context.Context, store *datastore.Store) error {
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	if err := store.HasLeader(limited); err != nil {
		return fmt.Errorf("failed to check etcd status for snapshot: %w", err)
	}
	return nil
}
