"""plugin_server"""
