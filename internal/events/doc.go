// Package events holds what travels between the programs: the JetStream streams PUSHES, BUILDS, EVENTS and LOGS,
// their subjects, the CloudEvents in them, and the rules by which they are written and read.
//
// Pushes and build records come in as domain values and go out as stored messages, and the other way round. The
// listener, the builder and the command line import it; it imports the domain alone.
package events
