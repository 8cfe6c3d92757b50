package kubelet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
)

// KeepLocal makes the machine keep every packet to the pods' addresses, so
// that nothing that is sent to a simulated pod leaves it: they are addresses
// of the machine itself, where a port that nothing listens on refuses the
// connection at once, as a pod would in which nothing runs.
func KeepLocal(cidr string) error {
	loopback, err := loopbackIndex()
	if err != nil {
		return err
	}
	return route(cidr, syscall.RTN_LOCAL, loopback)
}

// KeepUnreachable makes the machine refuse every packet to the range: services
// that nothing stands behind.
func KeepUnreachable(cidr string) error { return route(cidr, syscall.RTN_UNREACHABLE, 0) }

func loopbackIndex() (uint32, error) {
	content, err := os.ReadFile("/sys/class/net/lo/ifindex")
	if err != nil {
		return 1, nil // the kernel gives lo the first index in every network namespace
	}
	var index uint32
	_, err = fmt.Sscan(string(content), &index)
	return index, err
}

// route adds (or replaces) a route to cidr by a netlink message.
func route(cidr string, kind uint8, device uint32) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return err
	}
	message := routeMessage(prefix.Masked(), kind, device)
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("route to %s: %w", cidr, err)
	}
	defer syscall.Close(socket)
	to := &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}
	if err := syscall.Sendto(socket, message, 0, to); err != nil {
		return fmt.Errorf("route to %s: %w", cidr, err)
	}
	buffer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(socket, buffer, 0)
	if err != nil {
		return fmt.Errorf("route to %s: %w", cidr, err)
	}
	answers, err := syscall.ParseNetlinkMessage(buffer[:n])
	if err != nil {
		return fmt.Errorf("route to %s: %w", cidr, err)
	}
	for _, answer := range answers {
		if answer.Header.Type == syscall.NLMSG_ERROR && len(answer.Data) >= 4 {
			if number := -int32(binary.NativeEndian.Uint32(answer.Data)); number != 0 {
				return fmt.Errorf("route to %s: %w", cidr, syscall.Errno(number))
			}
		}
	}
	return nil
}

func routeMessage(prefix netip.Prefix, kind uint8, device uint32) []byte {
	family := uint8(syscall.AF_INET)
	if prefix.Addr().Is6() {
		family = syscall.AF_INET6
	}
	table, scope := uint8(syscall.RT_TABLE_MAIN), uint8(syscall.RT_SCOPE_UNIVERSE)
	if kind == syscall.RTN_LOCAL {
		table, scope = syscall.RT_TABLE_LOCAL, syscall.RT_SCOPE_HOST
	}
	var body []byte
	body = append(body, family, uint8(prefix.Bits()), 0, 0, table, syscall.RTPROT_STATIC, scope, kind, 0, 0, 0, 0)
	body = attribute(body, syscall.RTA_DST, prefix.Addr().AsSlice())
	if device != 0 {
		body = attribute(body, syscall.RTA_OIF, binary.NativeEndian.AppendUint32(nil, device))
	}
	flags := uint16(syscall.NLM_F_REQUEST | syscall.NLM_F_ACK | syscall.NLM_F_CREATE | syscall.NLM_F_REPLACE)
	var message []byte // struct nlmsghdr: length, type, flags, sequence number, port
	message = binary.NativeEndian.AppendUint32(message, uint32(syscall.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, syscall.RTM_NEWROUTE)
	message = binary.NativeEndian.AppendUint16(message, flags)
	message = binary.NativeEndian.AppendUint32(message, 1)
	message = binary.NativeEndian.AppendUint32(message, 0)
	return append(message, body...)
}

func attribute(body []byte, kind uint16, value []byte) []byte {
	length := 4 + len(value)
	body = binary.NativeEndian.AppendUint16(body, uint16(length))
	body = binary.NativeEndian.AppendUint16(body, kind)
	body = append(body, value...)
	for ; length%4 != 0; length++ {
		body = append(body, 0)
	}
	return body
}
