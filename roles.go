package rpmflow

// Role is what a program or a person is to the servers behind the system, NATS and S3: the name of its user there,
// which has the rights it needs and no others.
type Role string

// The roles. A role is also the name of its user, and of its S3 account.
const (
	RoleListener   Role = "listener"   // stores pushes, makes the streams, queues builds, reads artifacts
	RoleBuilder    Role = "builder"    // takes builds, writes events, logs and artifacts
	RolePublisher  Role = "publisher"  // reads events and artifacts, writes repositories
	RoleSubscriber Role = "subscriber" // receives finished builds, writes nothing
	RoleAdmin      Role = "admin"      // a person who administers the servers
)
