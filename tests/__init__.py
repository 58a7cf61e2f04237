"""waybill's tests."""
