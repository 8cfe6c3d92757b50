package datastore

import (
	"context"
	"net/url"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"hmco-boot/k3s-standin/internal/paths"
)

// local asks the own member for what is told to others about it, by one connection that is kept and by calls that are not
// tried again. Without a quorum etcd does not answer the TLS handshake: for 20 s a call ends by its time, as the
// connection is still being made, and from then on at once by that reason. clientv3 would try again until the time is up.
type local struct{ conn *grpc.ClientConn }

func dialLocal(p paths.Data, member string) (local, error) {
	tlsConfig, err := clientTLS(p)
	if err != nil {
		return local{}, err
	}
	place, err := url.Parse(member)
	if err != nil {
		return local{}, err
	}
	conn, err := grpc.NewClient("passthrough:///"+place.Host, grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)))
	if err != nil {
		return local{}, err
	}
	conn.Connect()
	return local{conn}, nil
}

func (l local) members(ctx context.Context) ([]*pb.Member, error) {
	got, err := pb.NewClusterClient(l.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	return got.GetMembers(), plain(ctx, err)
}

func (l local) status(ctx context.Context) (*pb.StatusResponse, error) {
	got, err := pb.NewMaintenanceClient(l.conn).Status(ctx, &pb.StatusRequest{})
	return got, plain(ctx, err)
}

// plain gives errors the words that etcd's client gives them.
func plain(ctx context.Context, err error) error {
	err = rpctypes.Error(err)
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return err
}
