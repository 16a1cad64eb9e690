// Nested TLS by one tls.Conn over another. One line of KEY=VALUE pairs on standard input for each conversation, one
// such line on standard output.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	limit  = 60 * time.Second
	period = 251
)

var pattern = func() []byte {
	bytes := make([]byte, period*1024)
	for i := range bytes {
		bytes[i] = byte(i % period)
	}
	return bytes
}()

type job map[string]string

func (j job) number(key string) int64 {
	n, err := strconv.ParseInt(j[key], 10, 64)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// pieces writes at most so many bytes at once.
type pieces struct {
	*tls.Conn
	most int
}

func (p pieces) Write(bytes []byte) (int, error) {
	done := 0
	for done < len(bytes) {
		most := len(bytes) - done
		if most > p.most {
			most = p.most
		}
		n, err := p.Conn.Write(bytes[done : done+most])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// SetWriteDeadline does nothing. The inner CloseWrite sets one in the past, to make later writes fail: the outer layer
// then lost the record of an answer to a KeyUpdate, and with it the count of its records.
func (p pieces) SetWriteDeadline(time.Time) error { return nil }

func layer(j job, name string, below net.Conn) *tls.Conn {
	file := func(key, kind string) string { return j["dir"] + "/" + j[name+key] + kind }
	own, err := tls.LoadX509KeyPair(file("_own", ".pem"), file("_own", ".key"))
	check(err)
	pem, err := os.ReadFile(file("_trust", ".pem"))
	check(err)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[j[name+"_tls"]]
	server := j[name] == "server"
	config := &tls.Config{
		Certificates: []tls.Certificate{own},
		MinVersion:   version,
		MaxVersion:   version,
		NextProtos:   []string{j[name+"_alpn"]},
		ServerName:   j[name+"_name"],
		ClientAuth:   tls.RequireAnyClientCert,
		// The certificates have no names: the chain is checked below, on either side.
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots:     trusted,
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			})
			return err
		},
		// Else Go keeps back a certificate that no named authority issued.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
	}
	if server {
		return tls.Server(below, config)
	}
	return tls.Client(below, config)
}

type side struct {
	j        job
	tcp      *net.TCPConn
	outer    *tls.Conn
	inner    *tls.Conn
	received int64
	wrong    int64
	ended    chan struct{}
}

func (s *side) read() error {
	defer close(s.ended)
	space := make([]byte, 1<<16)
	for {
		n, err := s.inner.Read(space)
		for i := 0; i < n; i++ {
			if s.wrong < 0 && space[i] != byte((s.received+int64(i))%period) {
				s.wrong = s.received + int64(i)
			}
		}
		s.received += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *side) write() error {
	if s.j["waits"] == "1" {
		<-s.ended
	}
	send, piece := s.j.number("send"), s.j.number("piece")
	for sent := int64(0); sent < send; {
		most := send - sent
		if most > piece {
			most = piece
		}
		n, err := s.inner.Write(pattern[sent%period : sent%period+most])
		sent += int64(n)
		if err != nil {
			return err
		}
	}
	switch s.j["cut"] {
	case "reset":
		check(s.tcp.SetLinger(0))
		return s.tcp.Close()
	case "transport":
		return s.tcp.CloseWrite()
	case "outer":
		check(s.outer.CloseWrite())
		return s.tcp.CloseWrite()
	}
	if err := s.inner.CloseWrite(); err != nil {
		return err
	}
	<-s.ended
	if s.j["cut"] == "none" {
		if err := s.outer.CloseWrite(); err != nil {
			return err
		}
	}
	return s.tcp.CloseWrite()
}

func converse(j job) string {
	tcp, err := net.Dial("tcp", "127.0.0.1:"+j["port"])
	check(err)
	defer tcp.Close()
	check(tcp.SetDeadline(time.Now().Add(limit)))
	s := &side{j: j, tcp: tcp.(*net.TCPConn), wrong: -1, ended: make(chan struct{})}
	s.outer = layer(j, "outer", tcp)
	at, failure := "outer", s.outer.Handshake()
	if failure == nil {
		s.inner = layer(j, "inner", pieces{s.outer, int(j.number("outer_piece"))})
		at, failure = "inner", s.inner.Handshake()
	}
	outerEnd := "unclean"
	if failure == nil {
		var wait sync.WaitGroup
		var wrote error
		wait.Add(1)
		go func() { wrote = s.write(); wait.Done() }()
		failure = s.read()
		wait.Wait()
		if failure == nil {
			failure = wrote
		}
		if _, err := s.outer.Read(make([]byte, 1)); err == io.EOF {
			outerEnd = "clean"
		}
	}
	end, reason := "clean", "-"
	if failure != nil {
		end, reason = "error", strings.ReplaceAll(failure.Error(), " ", "_")
		if strings.HasPrefix(failure.Error(), "remote error") {
			reason = "alert:" + reason
			// An error of the layer below passes through the one above as it is.
			if _, err := s.outer.Read(make([]byte, 1)); err != nil && err.Error() == failure.Error() {
				at = "outer"
			}
		}
		s.outer.CloseWrite()
		s.tcp.CloseWrite()
	}
	io.Copy(io.Discard, tcp)
	line := fmt.Sprintf("end=%s layer=%s reason=%s received=%d wrong=%d outer_end=%s", end, at, reason, s.received, s.wrong, outerEnd)
	for name, connection := range map[string]*tls.Conn{"outer": s.outer, "inner": s.inner} {
		if connection == nil {
			continue
		}
		state := connection.ConnectionState()
		version := map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[state.Version]
		line += fmt.Sprintf(" %s_version=%s %s_alpn=%s", name, version, name, state.NegotiatedProtocol)
		if j[name] == "server" {
			line += fmt.Sprintf(" %s_sni=%s", name, state.ServerName)
		}
	}
	return line
}

func main() {
	fmt.Println("Go crypto/tls", strings.TrimPrefix(runtime.Version(), "go"))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		j := job{}
		for _, pair := range strings.Fields(lines.Text()) {
			key, value, _ := strings.Cut(pair, "=")
			j[key] = value
		}
		fmt.Println(converse(j))
	}
}
